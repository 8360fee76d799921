"""What another run may have done meanwhile, and the disk; the download itself is shown in tests/integration."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import respx

from bridge.image.artifacts import ModelArtifacts
from bridge.image.builders.choice import Builder
from bridge.image.errors import DirectArtifacts, DiskTooSmall
from bridge.image.registry.client import RegistryImage
from bridge.image.settings import ImageSettings
from bridge.image.steps import download as downloading
from bridge.image.steps.download import download
from bridge.image.workspace import Workspace
from tests.unit.image.fake_programs import Programs
from tests.unit.image.in_memory import MemoryRepository, image

MLFLOW = "https://mlflow.example"


def settings(**values: Any) -> ImageSettings:
    values |= {"mlflow_tracking_uri": MLFLOW, "docker_registry": "r.example", "docker_namespace": "demo"}
    return ImageSettings(model="iris", version="7", **values)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


def mlflow(**tags: str) -> respx.Route:
    """Let MLflow have the version, in a store without a proxy; give the route on which tags are set."""
    said = [{"key": key, "value": value} for key, value in tags.items()]
    version = {"name": "iris", "version": "7", "source": "models:/m-7", "tags": said}
    api = f"{MLFLOW}/api/2.0/mlflow/model-versions"
    respx.get(f"{api}/get").respond(json={"model_version": version})
    respx.get(f"{api}/get-download-uri").respond(json={"artifact_uri": "s3://bucket/model"})
    return respx.post(f"{api}/set-tag").respond(json={})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, RegistryImage]:
    """Images by tag, of the one repository that there is."""
    held: dict[str, RegistryImage] = {}
    monkeypatch.setattr(downloading, "repository_of", lambda *_: MemoryRepository("r.example/demo/iris", images=held))
    return held


@respx.mock
def test_a_version_that_another_run_has_pushed_since_is_not_built_again(
    registry: dict[str, RegistryImage], outputs: Path, tmp_path: Path
) -> None:
    tags = mlflow()
    registry["7"] = image("7")
    download(settings(), Workspace(tmp_path / "work"))
    assert "\nfalse\n" in outputs.read_text()
    assert not tags.called


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("status", ["pushed", "building", "failed", None])
@pytest.mark.parametrize("uri", ["r.example/demo/iris@sha256:1", "r.example/demo/other@sha256:1", ""])
@respx.mock
def test_whatever_its_tags_claim_a_version_without_an_image_is_built(
    outputs: Path, tmp_path: Path, status: str | None, uri: str
) -> None:
    tags = mlflow(**({"image.status": status} if status else {}), **{"image.uri": uri})
    with pytest.raises(DirectArtifacts):
        download(settings(), Workspace(tmp_path / "work"))
    assert "\ntrue\n" in outputs.read_text()
    assert tags.called is not (status == "pushed" and uri.startswith("r.example/demo/iris@"))


@respx.mock
def test_a_forced_build_is_made_though_the_image_is_there(
    registry: dict[str, RegistryImage], outputs: Path, tmp_path: Path
) -> None:
    mlflow()
    registry["7"] = image("7")
    with pytest.raises(DirectArtifacts):
        download(settings(force=True), Workspace(tmp_path / "work"))
    assert "\ntrue\n" in outputs.read_text()


@pytest.mark.usefixtures("registry")
@respx.mock
def test_a_model_that_is_listed_as_larger_than_the_disk_is_not_downloaded(outputs: Path, tmp_path: Path) -> None:
    mlflow()
    api = f"{MLFLOW}/api/2.0"
    uri = {"artifact_uri": "mlflow-artifacts:/1/model"}
    respx.get(f"{api}/mlflow/model-versions/get-download-uri").respond(json=uri)
    files = [{"path": name, "is_dir": False, "file_size": 10**15} for name in ("a", "b")]
    respx.get(f"{api}/mlflow-artifacts/artifacts").respond(json={"files": files})
    downloads = respx.get(path__startswith="/api/2.0/mlflow-artifacts/artifacts/")
    with pytest.raises(DiskTooSmall):
        download(settings(), Workspace(tmp_path / "work"))
    assert not downloads.called


@pytest.mark.parametrize("there", [True, False])
def test_an_earlier_image_that_was_on_the_runner_before_is_not_this_jobs_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs, there: bool
) -> None:
    programs.say("docker", status=0 if there else 1)
    monkeypatch.setattr(downloading, "fetch", lambda *_, **__: None)
    workspace, earlier = Workspace(tmp_path / "work"), settings(previous="sha256:5f")
    artifacts = cast("ModelArtifacts", SimpleNamespace(sizes=dict, download=lambda *_: None))
    downloading._download(artifacts, earlier, workspace, Builder("layered"), "r.example/demo/iris")
    assert workspace.pulled() == ("" if there else "r.example/demo/iris@sha256:5f")
