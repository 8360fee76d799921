"""`builder: layered` by the real workflow: what a first version, a next one and an alias cost; and no secret shows."""

import gzip
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import certifi
import mlflow
import pytest

from bridge.image.labels import LAYERED_RECIPE
from tests.e2e.containers import docker
from tests.e2e.test_layered import index
from tests.e2e.workflow_stage import WorkflowStage, annotations, by_hand, dispatch, ended, has_built, steps
from tests.loopback.github.runs import Run
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.registry import Registry
from tests.loopback.runner.checkout import copy
from tests.loopback.stage import REPOSITORY, checkout, missing_for_images

pytestmark = pytest.mark.filterwarnings("default")  # MLflow warns of its own dependencies

NAME = "layered"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_REQUEST = re.compile(r'"(GET|PUT) /v2/(\S+) HTTP/1\.1" 2[0-9]{2} ')


@dataclass(frozen=True)
class Given:
    """A repository whose caller asks for layers, and the secrets of its package index."""

    github: LoopbackGitHub
    password: str
    address: str
    certificates: str


@dataclass(frozen=True)
class Pushed:
    """A version's run, and what the registry was asked for meanwhile, as (method, path)."""

    run: Run
    asked: list[tuple[str, str]]
    manifest: dict[str, Any]

    @property
    def parts(self) -> list[str]:
        """The digests of the configuration and of the layers."""
        return [part["digest"] for part in (self.manifest["config"], *self.manifest["layers"])]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose caller asks for layers."""
    tree = tmp_path_factory.mktemp("builders") / "tree"
    copy(checkout(), tree, REPOSITORY)
    caller = tree / ".github/workflows/on-mlflow-event.yml"
    caller.write_text(caller.read_text().replace("    with:\n", "    with:\n      builder: layered\n"))
    return tree


@pytest.fixture(scope="module")
def given(workflows: WorkflowStage, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    if lacking := missing_for_images():
        pytest.skip(lacking)
    password = secrets.token_hex(16)
    authority = _CERTIFICATE.search(certifi.contents())
    assert authority
    certificates = f"# {secrets.token_hex(16)}\n{authority[0]}\n"
    with (
        index(tmp_path_factory.mktemp("index"), password) as address,
        workflows.github(tree=tree, PIP_EXTRA_INDEX_URL=address, CA_CERTIFICATES=certificates) as github,
    ):
        yield Given(github, password, address, certificates)


@pytest.fixture(scope="module")
def first(workflows: WorkflowStage, given: Given) -> Pushed:
    return built(workflows, given, register(workflows, 2))


@pytest.fixture(scope="module")
def second(workflows: WorkflowStage, given: Given, first: Pushed) -> Pushed:
    return built(workflows, given, register(workflows, 3))


def register(workflows: WorkflowStage, factor: int) -> str:
    """Log and register a model that needs a package of the private index; give its version."""
    import pandas

    class Multiplies(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not followed
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # hints mean inputs
            try:
                import privately  # type: ignore[import-not-found]  # is installed in the image alone
            except ImportError:  # where the model is logged
                return ["nothing"]
            return [f"{privately.__doc__}: {int(value) * factor}" for value in model_input["x"]]

    mlflow.set_tracking_uri(workflows.mlflow.url)
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="model", python_model=Multiplies(), pip_requirements=["cloudpickle", "privately"],
            input_example=pandas.DataFrame({"x": [7]}), registered_model_name=NAME,
        )  # fmt: skip
    return str(logged.registered_model_version)


def built(workflows: WorkflowStage, given: Given, version: str) -> Pushed:
    before = len(asked_of(workflows.registry))
    run = ended(given.github, by_hand(given.github, model=NAME, version=version))
    assert run.conclusion == "success", run.failure
    return Pushed(run, asked_of(workflows.registry)[before:], manifest(workflows.registry, version))


def asked_of(registry: Registry) -> list[tuple[str, str]]:
    """Give what the registry was asked for so far and gave, as (method, path below /v2/), from its own log."""
    return _REQUEST.findall(registry.log.read_text())


def manifest(registry: Registry, version: str) -> dict[str, Any]:
    link = registry.folder / f"blobs/docker/registry/v2/repositories/demo/{NAME}/_manifests/tags/{version}/current/link"
    return dict(json.loads(blob(registry, link.read_text()).read_text()))


def blob(registry: Registry, digest: str) -> Path:
    kind, _, value = digest.strip().partition(":")
    return registry.folder / f"blobs/docker/registry/v2/blobs/{kind}/{value[:2]}/{value}/data"


def blobs(asked: list[tuple[str, str]], method: str) -> set[str]:
    """Give the digests of the blobs that were uploaded (PUT) or downloaded (GET)."""
    paths = [unquote(path) for each, path in asked if each == method and "/blobs/" in path]
    return {found for path in paths for found in re.findall(r"sha256:[0-9a-f]{64}", path)}


def held(name: str) -> bool:
    return docker("image", "inspect", name, status=None).returncode == 0


def test_a_first_version_takes_its_packages_from_the_private_index_too(first: Pushed, workflows: WorkflowStage) -> None:
    assert '/invocations answered {"predictions": ["A private greeting: 14"]}' in first.run.log
    assert blobs(first.asked, "PUT") == set(first.parts)
    assert f"| Recipe | <code>{LAYERED_RECIPE.replace('/', '&#47;')}</code> |" in first.run.summary
    with workflows.api() as api:
        assert api.version(NAME, "1").tags["image.status"] == "pushed"


def test_nothing_of_the_index_password_nor_of_the_certificates_is_in_the_image_the_log_or_the_summary(
    first: Pushed, given: Given, workflows: WorkflowStage
) -> None:
    canary = given.certificates.splitlines()[0].removeprefix("# ")
    hidden = [each.encode() for each in (given.password, given.address, canary)]
    said = [first.run.log, first.run.summary, *annotations(first.run, "notice"), *annotations(first.run, "error")]
    assert [each for text in said for each in hidden if each in text.encode()] == []
    made = [first.parts[0], *first.parts[2:]]  # the one between them is the base's
    found = {digest: words(blob(workflows.registry, digest), [b"A private greeting", *hidden]) for digest in made}
    assert sorted(word for words in found.values() for word in words) == [b"A private greeting"]


def words(file: Path, wanted: list[bytes]) -> list[bytes]:
    """Give which of the words are in a file, uncompressed where it is a layer."""
    found: set[bytes] = set()
    rest = b""
    with gzip.open(file) if file.read_bytes()[:2] == b"\x1f\x8b" else file.open("rb") as content:
        while piece := content.read(1 << 24):
            read = rest + piece
            found |= {word for word in wanted if word in read}
            rest = piece[-1000:]
    return sorted(found)


def test_a_next_version_uploads_its_model_and_its_configuration_and_nothing_else(
    first: Pushed, second: Pushed, workflows: WorkflowStage
) -> None:
    assert second.parts[1:-1] == first.parts[1:-1]
    assert blobs(second.asked, "PUT") == {second.parts[0], second.parts[-1]}
    assert '"A private greeting: 21"' in second.run.log
    ran = steps(second.run)
    assert (ran["Sign in to read"], ran["Sign out"]) == ("success", "success")
    name = f"{workflows.registry.host}/demo/{NAME}"
    assert f"requirements: layers of {name}@" in second.run.log
    assert [each for each in (f"{name}:1", f"{name}:2", second.parts[0], first.parts[0]) if held(each)] == []


def test_an_alias_alone_takes_less_than_three_seconds_and_no_layer_is_pulled_or_pushed(
    second: Pushed, given: Given, workflows: WorkflowStage
) -> None:
    workflows.client.set_registered_model_alias(NAME, "champion", "2")
    before = len(asked_of(workflows.registry))
    model = {"name": NAME, "version": "2", "alias": "champion", "source": None, "run_id": None}
    run = ended(given.github, dispatch(given.github, model))
    assert run.conclusion == "success", run.failure
    assert not has_built(run)
    asked = asked_of(workflows.registry)[before:]
    assert blobs(asked, "PUT") == set()
    assert blobs(asked, "GET") == {second.parts[0]}, "more than the configuration, which holds the labels"
    tags = workflows.registry.tags(f"{workflows.registry.host}/demo/{NAME}")
    assert tags["champion"] == tags["2"]


def test_a_model_that_layers_cannot_hold_is_built_by_mlflows_own_builder_and_the_run_says_why(
    workflows: WorkflowStage, tree: Path
) -> None:
    number = workflows.register("whole")  # it names no requirements.txt
    with workflows.github(tree=tree) as github:
        run = ended(github, by_hand(github, model="whole", version=number))
    assert run.conclusion == "success", run.failure
    reason = "python_env.yaml has requirements other than requirements.txt"
    assert [notice.partition(";")[0] for notice in annotations(run, "notice")] == [reason]
    assert "mlflow models build-docker, MLflow " in run.log
    assert "| Recipe | <code>mlflow&#45;build&#45;docker&#47;1</code> |" in run.summary


def test_with_a_package_index_set_such_a_model_is_refused_with_the_mend(workflows: WorkflowStage, given: Given) -> None:
    number = workflows.register("never")
    run = ended(given.github, by_hand(given.github, model="never", version=number))
    assert steps(run)["Resolve the version"] == "failure"
    (message,) = annotations(run, "error")
    assert message.startswith("python_env.yaml has requirements other than requirements.txt; ")
    assert "PIP_INDEX_URL and PIP_EXTRA_INDEX_URL and the secret CA_CERTIFICATES" in message
