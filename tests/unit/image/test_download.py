"""What another run may have done meanwhile, and the disk; the download itself is shown in tests/integration."""

from pathlib import Path
from typing import Any

import pytest
import respx

from bridge.image.download import download
from bridge.image.errors import DirectArtifacts, DiskTooSmall
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Workspace

MLFLOW = "https://mlflow.example"


def settings(**values: Any) -> ImageSettings:
    values |= {"mlflow_tracking_uri": MLFLOW, "docker_registry": "r.example", "docker_namespace": "demo"}
    return ImageSettings(model="iris", version="7", **values)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


def mlflow(status: str | None, repository: str = "r.example/demo/iris") -> respx.Route:
    """Let MLflow have the version, in a store without a proxy; give the route on which tags are set."""
    said = {"image.status": status, "image.uri": f"{repository}@sha256:1"} if status else {}
    tags = [{"key": key, "value": value} for key, value in said.items()]
    version = {"name": "iris", "version": "7", "source": "models:/m-7", "tags": tags}
    api = f"{MLFLOW}/api/2.0/mlflow/model-versions"
    respx.get(f"{api}/get").respond(json={"model_version": version})
    respx.get(f"{api}/get-download-uri").respond(json={"artifact_uri": "s3://bucket/model"})
    return respx.post(f"{api}/set-tag").respond(json={})


@respx.mock
def test_a_version_that_another_run_has_pushed_since_is_not_built_again(outputs: Path, tmp_path: Path) -> None:
    tags = mlflow("pushed")
    download(settings(), Workspace(tmp_path / "work"))
    assert "\nfalse\n" in outputs.read_text()
    assert not tags.called


@pytest.mark.parametrize(
    ("status", "asked"),
    [("pushed", {"replace": True}), ("pushed", {"force": True}), ("building", {}), ("failed", {}), (None, {})],
)
@respx.mock
def test_any_other_version_is_built(outputs: Path, tmp_path: Path, status: str | None, asked: dict[str, bool]) -> None:
    tags = mlflow(status)
    with pytest.raises(DirectArtifacts):
        download(settings(**asked), Workspace(tmp_path / "work"))
    assert "\ntrue\n" in outputs.read_text()
    assert tags.called == (status != "pushed")


@respx.mock
def test_a_model_that_is_listed_as_larger_than_the_disk_is_not_downloaded(outputs: Path, tmp_path: Path) -> None:
    mlflow(None)
    api = f"{MLFLOW}/api/2.0"
    uri = {"artifact_uri": "mlflow-artifacts:/1/model"}
    respx.get(f"{api}/mlflow/model-versions/get-download-uri").respond(json=uri)
    files = [{"path": name, "is_dir": False, "file_size": 10**15} for name in ("a", "b")]
    respx.get(f"{api}/mlflow-artifacts/artifacts").respond(json={"files": files})
    downloads = respx.get(path__startswith="/api/2.0/mlflow-artifacts/artifacts/")
    with pytest.raises(DiskTooSmall):
        download(settings(), Workspace(tmp_path / "work"))
    assert not downloads.called


@respx.mock
def test_the_tags_of_a_version_copied_from_another_model_stop_no_build(outputs: Path, tmp_path: Path) -> None:
    tags = mlflow("pushed", "r.example/demo/iris-dev")
    with pytest.raises(DirectArtifacts):
        download(settings(), Workspace(tmp_path / "work"))
    assert "\ntrue\n" in outputs.read_text()
    assert tags.called
