import html
from pathlib import Path

import pytest

from bridge.image.settings import ImageSettings
from bridge.image.steps.report import report_failed, summarise
from bridge.image.workspace import Resolved, Workspace
from bridge.mlflow.client import ModelVersion
from tests.unit.image.in_memory import MemoryMlflow, version


def test_the_summary_names_image_digest_size_steps_and_what_to_do_with_it() -> None:
    text = summarise(
        ModelVersion(name="iris", version="7"), "r.example/iris@sha256:1", 2_500_000, ["champion"], {"build": 36.1},
        recipe="layered/1",
    )  # fmt: skip
    rows = dict(line.strip("| ").split(" | ", 1) for line in text.splitlines()[2:])
    assert rows == {
        "Model": "<code>iris</code> version <code>7</code>",
        "Image": "<code>r.example/iris:7</code>",
        "Digest": "<code>sha256:1</code>",
        "Size": "2.5 MB (compressed)",
        "Recipe": "<code>layered&#47;1</code>",
        "Aliases": "<code>champion</code>",
        "Seconds": "build 36.1",
        "Pull": "<code>docker pull r.example/iris@sha256:1</code>",
        "Run": "<code>docker run --rm -p 8080:8080 r.example/iris@sha256:1</code>",
        "Verify": "<code>skopeo inspect --no-tags docker://r.example/iris:7</code> prints the digest",
    }


def test_a_models_name_can_bring_no_markup_and_no_row_of_its_own() -> None:
    name = "a|b`c`<img src=x>\n| Image | evil | [here](https://evil) ![x](y) *b* _i_"
    text = summarise(ModelVersion(name=name, version="7"), "r.example/iris@sha256:1", 0, [], {})
    assert len(text.splitlines()) == 12
    shown = text.splitlines()[2].split("<code>")[1].split("</code>")[0]
    assert html.unescape(shown) == name
    assert not set("|`<>[]()*_!\n") & set(shown)


def test_an_attested_image_is_verified_by_githubs_program_with_the_repository_that_signed() -> None:
    settings = ImageSettings(github_repository="me/models", attested=True, bridge_repository="o/bridge")
    text = summarise(
        ModelVersion(name="iris", version="7"), "r.example/i@sha256:1", 0, [], {},
        attestation=settings.attestation(),
    )  # fmt: skip
    command = "gh attestation verify oci://r.example/i@sha256:1 --repo me/models --signer-repo o/bridge"
    assert f"<code>{command}</code>" in text
    own = ImageSettings(github_repository="me/models", attested=True, bridge_repository="me/models")
    assert own.attestation() == "--repo me/models"
    assert ImageSettings(github_repository="me/models").attestation() == ""


@pytest.mark.parametrize(("name", "kept"), [("iris-0123af", True), ("another", False)])
def test_a_failure_before_the_repository_was_decided_is_written_unless_either_holds_the_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, kept: bool
) -> None:
    mlflow = MemoryMlflow(version("1", **{"image.status": "pushed", "image.uri": f"r.example/demo/{name}@sha256:1"}))
    monkeypatch.setattr(ImageSettings, "mlflow", lambda _: mlflow)
    settings = ImageSettings(model="iris-0123af", version="1", docker_registry="r.example", docker_namespace="demo")
    assert len(settings.repositories("iris-0123af")) == 2
    report_failed(settings, Workspace(tmp_path))
    assert [value for key, value in mlflow.written if key == "image.status"] == ([] if kept else ["failed"])


def test_a_failed_build_is_written_onto_the_version_that_the_alias_pointed_to_when_the_run_began(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed: list[str] = []

    class Moved(MemoryMlflow):
        def version_by_alias(self, name: str, alias: str) -> ModelVersion:
            return self.versions["2"]

        def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
            failed.append(version)

    monkeypatch.setattr(ImageSettings, "mlflow", lambda _: Moved(version("1"), version("2")))
    workspace = Workspace(tmp_path)
    workspace.write_resolved(Resolved("iris", "1", "models:/m-1", "", "r.example/iris", "", ""))
    report_failed(ImageSettings(model="iris", alias="champion"), workspace)
    assert set(failed) == {"1"}


def test_a_gate_that_passed_is_written_though_the_promotion_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mlflow = MemoryMlflow(version("1", **{"image.gate": "status 1"}))
    monkeypatch.setattr(ImageSettings, "mlflow", lambda _: mlflow)
    workspace = Workspace(tmp_path)
    workspace.write_resolved(Resolved("iris", "1", "models:/m-1", "", "r.example/iris", "sha256:1", ""))
    workspace.write_gate("")
    report_failed(ImageSettings(), workspace)
    assert mlflow.written == [("image.gate", "passed")]
