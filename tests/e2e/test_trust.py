"""A model whose code looks for the run's secrets, while it is installed and while it is asked; its SBOM as well."""

import base64
import gzip
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import bcrypt
import mlflow
import pytest

from tests.e2e.workflow_stage import WorkflowStage, by_hand, ended, steps, tree_with
from tests.loopback.github.runs import Run
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.registry import Registry
from tests.loopback.servers import MlflowServer
from tests.loopback.stage import REPOSITORY, base_image, checkout, missing_for_images, new_runner, remove_images

pytestmark = pytest.mark.filterwarnings("default")  # MLflow warns of its own dependencies

MARK = "sentinel-of-this-run"
PASSWORD = f"{MARK}-registry"
SECRETS = {
    "MLFLOW_TRACKING_USERNAME": f"{MARK}-user",
    "MLFLOW_TRACKING_PASSWORD": f"{MARK}-password",
    "MLFLOW_TRACKING_TOKEN": f"{MARK}-token",
    "AWS_ACCESS_KEY_ID": f"{MARK}-key",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}-secret",
}
"""With the registry's password, MLflow's address and GITHUB_TOKEN all that the workflow takes, but for the user."""
ON_THE_RUNNER = {
    name: f"{MARK}-{name.lower().replace('_', '-')}"
    for name in (
        "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_RESULTS_URL",
        "GH_TOKEN", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "GOOGLE_APPLICATION_CREDENTIALS", "TWINE_PASSWORD",
    )
}  # fmt: skip
"""What GitHub's runner, or whoever set a runner up, has in the environment of every step."""
LOOK = "See what the runner has in the environment"
_LOOK = f'test -n "$ACTIONS_RUNTIME_TOKEN" && ! grep -r auth "$RUNNER_TEMP" "$DOCKER_CONFIG" && ! env | grep {PASSWORD}'
"""While model code runs, no file of the runner's has a sign-in either."""
SEEK = '''
import base64, os, pathlib

def seek():
    """Look into every environment, and every small file that may be read, but this one; and for ways to the runner."""
    # Joined as it runs, so that neither this file nor what Python makes of it holds what is looked for.
    mark = "-".join(["sentinel", "of", "this", "run"]).encode()
    marks = [mark, b"s_".join([b"gh", b""]), *(base64.b64encode(mark[shift:])[:-4] for shift in range(3))]
    found = []
    places = ("/run", "/root", "/tmp", "/etc", "/home", "/mnt", "/opt", "/var", "/github", "/workspace", "/secrets")
    files = [each for place in places for each in pathlib.Path(place).rglob("*")]
    for path in [*pathlib.Path("/proc").glob("*/environ"), *pathlib.Path("/proc").glob("*/cmdline"), *files]:
        try:
            if path.is_file() and path.stat().st_size < 1_000_000:
                found += [str(path) for data in [path.read_bytes()] for mark in marks if mark in data]
        except OSError:
            pass
    names = ("TOKEN", "PASSWORD", "SECRET", "AWS_", "DOCKER_", "GITHUB_", "ACTIONS_", "MLFLOW_TRACKING", "AZURE",
             "GOOGLE_", "GH_", "TWINE")
    found += [name for name in os.environ if name.upper().startswith(names) or name.upper().endswith(names)]
    ways = ("/var/run/docker.sock", "/run/secrets", os.path.expanduser("~/.docker"))
    found += [path for path in ways if os.path.exists(path)]
    return found
'''  # fmt: skip


class MarkedRegistry(Registry):
    """One whose password carries the mark, so that the model's code would know it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.password = PASSWORD
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
        (folder.resolve() / "htpasswd").write_text(f"{self.user}:{hashed}\n")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkflowStage]:
    if lacking := missing_for_images():
        pytest.skip(lacking)
    folder = tmp_path_factory.mktemp("trust")
    with ExitStack() as stack:
        registry = stack.enter_context(MarkedRegistry(folder / "registry"))
        server = stack.enter_context(MlflowServer(folder / "mlflow"))
        yield WorkflowStage(folder, server, registry, new_runner(checkout(), folder, ON_THE_RUNNER))
        remove_images(registry.host)


@pytest.fixture(scope="module")
def github(parts: WorkflowStage) -> Iterator[LoopbackGitHub]:
    tree = tree_with(parts.folder / "tree", sbom="true", attest="true", latest="true")
    called = tree / ".github/workflows/model-image.yml"
    look = f"      - name: {LOOK}\n        run: {_LOOK}\n"
    called.write_text(
        called.read_text().replace("      - name: Build the image\n", f"{look}      - name: Build the image\n")
    )
    with parts.github(tree=tree, MLFLOW_TRACKING_URI=parts.mlflow.url, **SECRETS) as github:
        yield github


@pytest.fixture(scope="module")
def seeker(parts: WorkflowStage, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Register version 1 of a model that looks for secrets; give its name."""
    mlflow.set_tracking_uri(parts.mlflow.url)
    package = tmp_path_factory.mktemp("package") / "seeker"
    package.mkdir()
    (package / "seeker.py").write_text(SEEK)
    (package / "setup.py").write_text(
        SEEK + "\nfrom setuptools import setup\n"
        "print('FOUND AT BUILD:', seek())\nopen('/found-at-build', 'w').write(repr(seek()))\n"
        "setup(name='seeker', version='1.0', py_modules=['seeker'])\n"
    )
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model", python_model=_model(), artifacts={"seeker": str(package)}, input_example=["x"],
            pip_requirements=["cloudpickle", "setuptools", "/opt/ml/model/artifacts/seeker"],
            registered_model_name="seeker",
        )  # fmt: skip
    return "seeker"


@pytest.fixture(scope="module")
def run(github: LoopbackGitHub, seeker: str) -> Run:
    """The run that builds, tries, pushes and tells all there is to tell of it."""
    return ended(github, by_hand(github, model=seeker, version="1"))


@pytest.fixture(scope="module")
def secrets(parts: WorkflowStage) -> re.Pattern[bytes]:
    """What tells any of the secrets, in Base64 as well: of a marked one, its mark."""
    mark = MARK.encode()
    marks = [mark, parts.mlflow.url.encode(), *(base64.b64encode(mark[shift:])[:-4] for shift in range(3))]
    return re.compile(b"|".join([*map(re.escape, marks), rb"gh[ps]_[0-9a-f]{30}"]))


@pytest.fixture(scope="module")
def image(parts: WorkflowStage, run: Run, seeker: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pushed image's manifest, configuration and layers, as files."""
    folder = tmp_path_factory.mktemp("image") / "image"
    login = f"{parts.registry.user}:{parts.registry.password}"
    command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--src-creds", login]
    name = f"{parts.registry.host}/demo/{seeker}:1"
    subprocess.run([*command, f"docker://{name}", f"dir:{folder}"], check=True)
    return folder


def _model() -> Any:
    class Seeks(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not followed
        def load_context(self, context: Any) -> None:
            try:
                import seeker  # type: ignore[import-not-found]  # is installed in the image alone
            except ImportError:  # where the model is logged
                return
            print("FOUND WHILE LOADING:", seeker.seek(), flush=True)

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # hints mean inputs
            try:
                import seeker
            except ImportError:
                return ["not in the image"]
            return [json.dumps(seeker.seek())]

    return Seeks()


def tags(parts: WorkflowStage, name: str) -> dict[str, str]:
    with parts.api() as api:
        return dict(api.version(name, "1").tags)


def test_the_image_comes_with_an_sbom_and_attestations_by_its_digest_and_with_latest(
    parts: WorkflowStage, run: Run, seeker: str
) -> None:
    assert run.conclusion == "success", run.failure
    name = f"{parts.registry.host}/demo/{seeker}"
    held = parts.registry.tags(name)
    assert held == {"1": held["1"], "latest": held["1"]}
    assert tags(parts, seeker)["image.uri"] == f"{name}@{held['1']}"
    assert run.log.count(f"attested {name}@{held['1']}") == 2
    assert steps(run)["Upload the SBOM"] == "success"
    assert f"gh attestation verify oci://{name}@{held['1']} --repo {REPOSITORY}" in run.summary


def test_what_the_models_code_finds_is_nothing(run: Run) -> None:
    assert steps(run)[LOOK] == "success"
    found = re.findall(r"FOUND (?:AT BUILD|WHILE LOADING): .*", run.log)
    assert {each.rstrip() for each in found} <= {"FOUND AT BUILD: []", "FOUND WHILE LOADING: []"}
    answers = re.findall(r"/invocations answered (.*)", run.log)
    assert [json.loads(each)["predictions"] for each in answers] == [["[]"]]


def test_the_code_that_looks_for_secrets_finds_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "seeker.py").write_text(SEEK)
    command = ["docker", "run", "--rm", "--volume", f"{tmp_path}:/seeker:ro", "--env", f"ANYTHING={MARK}-any"]
    script = "import sys; sys.path.insert(0, '/seeker'); import seeker; print(seeker.seek())"
    done = subprocess.run([*command, base_image(), "python", "-c", script], check=True, capture_output=True, text=True)
    assert "/proc/1/environ" in done.stdout


def test_no_secret_is_in_what_the_run_shows_or_hands_on(
    parts: WorkflowStage, run: Run, secrets: re.Pattern[bytes]
) -> None:
    """act's log has each step's outputs and what it adds to the environment."""
    shown = "\n".join([run.log, run.summary, *(str(job.annotations) for job in run.jobs)])
    assert "::set-output:: digest=sha256:" in run.log
    assert "::set-env::" not in run.log
    assert not secrets.findall(shown.encode())
    assert "***" not in shown  # where a secret would have stood


def test_no_secret_is_in_mlflow_or_the_sbom(
    parts: WorkflowStage, run: Run, seeker: str, secrets: re.Pattern[bytes]
) -> None:
    assert run.conclusion == "success"
    sbom = next((parts.folder / "runner/home/artifacts").iterdir()).read_bytes()
    assert json.loads(sbom)["components"]
    told = json.dumps(tags(parts, seeker)).encode()
    assert b"image.run_url" in told
    assert not secrets.findall(sbom + told)


def test_no_secret_is_in_a_layer_a_label_the_history_or_the_environment_of_the_image(
    image: Path, secrets: re.Pattern[bytes]
) -> None:
    blobs = [path.read_bytes() for path in image.iterdir()]
    unpacked = [gzip.decompress(blob) if blob.startswith(b"\x1f\x8b") else blob for blob in blobs]
    assert not [found for blob in unpacked for found in secrets.findall(blob)]
    configurations = [json.loads(blob) for blob in unpacked if blob.startswith(b'{"') and b'"rootfs"' in blob]
    assert len(configurations) == 1
    assert len(configurations[0]["history"]) > 5
    names = {each.partition("=")[0] for each in configurations[0]["config"]["Env"]}
    assert not [name for name in names if name in SECRETS or name in ON_THE_RUNNER]
    assert _written_at_build(unpacked) == [b"[]"]  # the model's code ran, and its layer was searched


def _written_at_build(blobs: list[bytes]) -> list[bytes]:
    """Give what the layers have of the file that the package writes while it is installed."""
    written = []
    for blob in blobs:
        with suppress(tarfile.ReadError, KeyError), tarfile.open(fileobj=io.BytesIO(blob)) as layer:
            file = layer.extractfile("found-at-build")
            written += [file.read()] if file else []
    return written
