"""What is written into MLflow, the disk, and layers to reuse; the download itself is in tests/integration."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import respx

from bridge.image.artifacts import ModelArtifacts
from bridge.image.builders.choice import Builder
from bridge.image.builders.layered.engine import base as engine_base
from bridge.image.builders.layered.plan import RECIPE, REQUIREMENTS_LABEL, descriptor
from bridge.image.builders.layered.plan import plan as plan_of
from bridge.image.errors import DirectArtifacts, DiskTooSmall
from bridge.image.metadata import ModelMetadata
from bridge.image.settings import ImageSettings
from bridge.image.steps.download import download, pull_layers
from bridge.image.workspace import Resolved, Workspace
from tests.unit.image.fake_programs import Programs

MLFLOW = "https://mlflow.example"


def settings(**values: Any) -> ImageSettings:
    values |= {"mlflow_tracking_uri": MLFLOW, "docker_registry": "r.example", "docker_namespace": "demo"}
    return ImageSettings(model="iris", version="7", **values)


@pytest.fixture
def server() -> Iterator[respx.MockRouter]:
    with respx.mock(using="httpcore2", assert_all_called=False) as routes:
        yield routes


def mlflow(server: respx.MockRouter, **tags: str) -> respx.Route:
    """Let MLflow have the version, in a store without a proxy; give the route on which tags are set."""
    entries = [{"key": key, "value": value} for key, value in tags.items()]
    version = {"name": "iris", "version": "7", "source": "models:/m-7", "tags": entries}
    api = f"{MLFLOW}/api/2.0/mlflow/model-versions"
    server.get(f"{api}/get").respond(json={"model_version": version})
    server.get(f"{api}/get-download-uri").respond(json={"artifact_uri": "s3://bucket/model"})
    return server.post(f"{api}/set-tag").respond(json={})


def resolved(folder: Path, builder: Builder = Builder(), previous: str = "") -> Workspace:  # noqa: B008  is frozen
    """As the step "resolve" leaves it."""
    workspace = Workspace(folder / "work")
    workspace.write_resolved(Resolved("iris", "7", "models:/m-7", "", IRIS, "", "", builder, previous))
    return workspace


@pytest.mark.parametrize("status", ["pushed", "building", "failed", None])
@pytest.mark.parametrize("uri", ["r.example/demo/iris@sha256:1", "r.example/demo/other@sha256:1", ""])
def test_a_version_is_marked_as_building_unless_its_image_was_pushed(
    server: respx.MockRouter, tmp_path: Path, status: str | None, uri: str
) -> None:
    tags = mlflow(server, **({"image.status": status} if status else {}), **{"image.uri": uri})
    with pytest.raises(DirectArtifacts):
        download(settings(), resolved(tmp_path))
    assert tags.called is not (status == "pushed" and uri.startswith("r.example/demo/iris@"))


def test_a_model_that_is_listed_as_larger_than_the_disk_is_not_downloaded(
    server: respx.MockRouter, tmp_path: Path
) -> None:
    mlflow(server)
    api = f"{MLFLOW}/api/2.0"
    uri = {"artifact_uri": "mlflow-artifacts:/1/model"}
    server.get(f"{api}/mlflow/model-versions/get-download-uri").respond(json=uri)
    files = [{"path": name, "is_dir": False, "file_size": 10**15} for name in ("a", "b")]
    server.get(f"{api}/mlflow-artifacts/artifacts").respond(json={"files": files})
    downloads = server.get(path__startswith="/api/2.0/mlflow-artifacts/artifacts/")
    with pytest.raises(DiskTooSmall):
        download(settings(), resolved(tmp_path))
    assert not downloads.called


IRIS = "r.example/demo/iris"
DIGEST = "sha256:1"
BASE = {"RootFS": {"Layers": ["sha256:b"]}, "Config": {"Env": ["PATH=/bin"]}, "Architecture": "amd64"}
TEXTS = {
    "MLmodel": "mlflow_version: 3.17.2\nflavors: {python_function: {env: {virtualenv: python_env.yaml}}}\n",
    "python_env.yaml": "python: 3.11.7\ndependencies: [-r requirements.txt]\n",
    "requirements.txt": "mlflow==3.17.2\nnumpy==2.4.6\n",
}
BUILDER = Builder("layered")


class Written(ModelArtifacts):
    """A model that consists of these texts."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def describe(self, to: Path) -> dict[str, int]:
        for name, text in self._texts.items():
            (to / name).write_text(text)
        return {name: len(text) for name, text in self._texts.items()}


@pytest.fixture
def machine(programs: Programs) -> Programs:
    """An engine with the base image, and a registry whose image has the layers of TEXTS."""
    programs.say("docker", json.dumps([BASE]))
    key = plan_of(TEXTS, ModelMetadata("3.17.2", "3.11.7", has_serving_example=False)).key(engine_base("x"))
    held(programs, key)
    (programs.folder / "calls.jsonl").unlink()
    return programs


def held(programs: Programs, key: str) -> None:
    layers = [descriptor(f"sha256:{name * 64}", 1) for name in "abc"]
    labels = {REQUIREMENTS_LABEL: key, "bridge.recipe": RECIPE}
    config = {"config": {"Labels": labels}, "rootfs": {"diff_ids": ["sha256:b", "sha256:r", "sha256:m"]}}
    # Both calls of skopeo end with the same name, so one answer serves for both.
    programs.say("skopeo", json.dumps({"config": config["config"], "rootfs": config["rootfs"], "layers": layers}))


def pull(
    folder: Path, texts: dict[str, str] | None = None, digest: str = DIGEST, builder: Builder = BUILDER
) -> Workspace:
    workspace = resolved(folder, builder, digest)
    pull_layers(Written(texts or TEXTS), workspace.resolved(), settings(), workspace)
    return workspace


def commands(programs: Programs) -> list[str]:
    return [" ".join([name, *arguments]) for name, arguments, _, _ in programs.calls]


def test_an_image_with_the_same_requirements_is_passed_on_and_an_image_that_was_here_before_is_not_removed(
    machine: Programs, tmp_path: Path
) -> None:
    machine.say("docker image", json.dumps([BASE]))
    workspace = pull(tmp_path)
    previous = workspace.previous()
    assert previous
    assert (previous.name, previous.digest, previous.diff_ids[-1]) == (IRIS, DIGEST, "sha256:m")
    assert workspace.pulled() == ""
    assert "docker pull" not in " ".join(commands(machine))


def test_an_image_that_the_engine_lacks_is_pulled_and_not_reused_if_that_fails(
    machine: Programs, tmp_path: Path
) -> None:
    machine.say(f"docker r.example_demo_iris@{DIGEST}", "", status=1)
    workspace = pull(tmp_path)
    assert workspace.previous() is None
    assert workspace.pulled() == f"{IRIS}@{DIGEST}"
    assert commands(machine)[-1] == f"docker pull --quiet {IRIS}@{DIGEST}"


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS | {"requirements.txt": "mlflow==3.17.2\nnumpy==2.4.7\n"},
        TEXTS | {"MLmodel": TEXTS["MLmodel"].replace("flavors: {", "flavors: {lightgbm: {}, ")},
    ],
)
def test_an_image_with_other_requirements_is_not_pulled(
    machine: Programs, tmp_path: Path, texts: dict[str, str]
) -> None:
    machine.say(f"docker r.example_demo_iris@{DIGEST}", "", status=1)
    assert pull(tmp_path, texts).previous() is None
    assert [command for command in commands(machine) if command.startswith("docker ")] == [
        f"docker image inspect {IRIS}@{DIGEST}",
        "docker image inspect python:3.11.7-slim",
    ]


def test_without_an_earlier_image_only_the_base_is_pulled(machine: Programs, tmp_path: Path) -> None:
    assert pull(tmp_path, digest="", builder=Builder("layered", base_image="python:3")).previous() is None
    assert commands(machine) == ["docker image inspect python:3"]


@pytest.mark.parametrize("program", ["docker", "skopeo"])
def test_an_engine_or_a_registry_that_fails_is_logged_and_stops_nothing(
    machine: Programs,
    tmp_path: Path,
    program: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.image.registry.client.time.sleep", lambda _: None)
    machine.say(program, status=1, err="no such host")
    assert pull(tmp_path).previous() is None
    assert "no such host" in capsys.readouterr().out


def test_a_model_that_cannot_be_read_stops_nothing_here(
    machine: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(tmp_path, {"MLmodel": ""}, digest="").previous() is None
    assert "MLmodel" in capsys.readouterr().out
    assert commands(machine) == []


@pytest.mark.parametrize(
    "planted",
    [
        {},
        {"layers": [], "config": None},
        {"layers": [], "config": {"Labels": None}, "rootfs": {}},
        {"layers": None, "config": {"Labels": {}}, "rootfs": {"diff_ids": []}},
        {"layers": [1], "config": {"Labels": ["a"]}, "rootfs": {"diff_ids": []}},
    ],
)
def test_an_image_that_is_not_ours_is_not_reused(machine: Programs, tmp_path: Path, planted: object) -> None:
    machine.say("skopeo", json.dumps(planted))
    assert pull(tmp_path).previous() is None
