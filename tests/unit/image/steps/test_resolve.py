from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.core.errors import BridgeError
from bridge.image.builders.choice import Builder
from bridge.image.errors import DiskTooSmall, InvalidInput, RegistryError, UnsafeMetadata, UnsupportedModel
from bridge.image.labels import LAYERED_RECIPE
from bridge.image.metadata import ModelMetadata
from bridge.image.registry.client import RegistryImage
from bridge.image.settings import ImageSettings
from bridge.image.steps import resolve as resolving
from bridge.image.steps.resolve import check_disk, choose_builder, previous_image, resolve
from bridge.image.workspace import Resolved, Workspace
from tests.unit.image.in_memory import MemoryMlflow, MemoryRepository, image, version


def test_a_model_that_fits_three_times_is_taken_and_a_byte_more_is_not() -> None:
    check_disk(100, 300)
    with pytest.raises(DiskTooSmall):
        check_disk(101, 300)


def layered_image(number: str, **others: str) -> RegistryImage:
    return image(number, recipe=LAYERED_RECIPE, **others)


def test_the_last_image_in_layers_before_this_version_is_built_upon() -> None:
    held = {"3": layered_image("3"), "5": layered_image("5"), "6": image("6"), "8": layered_image("8")}
    there = MemoryRepository("r.example/iris", images=held)
    assert previous_image(there, version("7")) == held["5"].digest


@pytest.mark.parametrize("held", [{}, {"6": image("6")}, {"6": layered_image("6", model="other")}])
def test_an_image_of_another_model_or_builder_is_not_built_upon(held: dict[str, RegistryImage]) -> None:
    assert previous_image(MemoryRepository("r.example/iris", images=held), version("7")) == ""


def test_the_first_version_and_one_long_after_the_last_image_are_built_upon_nothing() -> None:
    there = MemoryRepository("r.example/iris", images={"1": layered_image("1")})
    assert previous_image(there, version("1")) == ""
    assert previous_image(there, version("6")) == layered_image("1").digest
    assert previous_image(there, version("7")) == ""


def test_a_registry_that_fails_while_earlier_images_are_checked_is_logged_and_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Failing(MemoryRepository):
        def inspect(self, tag: str) -> RegistryImage | None:
            raise RegistryError("r.example/iris: the registry failed: run the job again")

    assert previous_image(Failing("r.example/iris"), version("7")) == ""
    assert "r.example/iris: the registry failed" in capsys.readouterr().out


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[dict[str, str], Resolved]]:
    """Run the step for version 7 in a repository that holds these images; give its outputs, and what it stored."""

    pushes: list[str] = []

    def run(held: dict[str, RegistryImage], **values: Any) -> tuple[dict[str, str], Resolved]:
        file = tmp_path / "outputs"
        file.unlink(missing_ok=True)
        monkeypatch.setenv("GITHUB_OUTPUT", str(file))
        monkeypatch.setattr(ImageSettings, "mlflow", lambda _: MemoryMlflow(version("7")))
        monkeypatch.setattr(resolving, "repository_of", lambda *_: MemoryRepository("r.example/iris", images=held))
        monkeypatch.setattr(resolving, "_check_model", lambda *arguments: arguments[-1])
        monkeypatch.setattr(resolving, "check_programs", lambda: None)
        monkeypatch.setattr(resolving, "check_push", lambda repository, _: pushes.append(repository.name))
        workspace = Workspace(tmp_path)
        pushes.clear()
        resolve(ImageSettings(model="iris", version="7", **values), workspace)
        lines = file.read_text().splitlines()
        outputs = {lines[at].partition("<<")[0]: lines[at + 1] for at in range(0, len(lines), 3)}
        asked = "7" not in held or values.get("force", False)
        assert pushes == (["r.example/iris"] if asked and values.get("push", True) else [])
        return outputs, workspace.resolved()

    return run


Results = Callable[..., tuple[dict[str, str], Resolved]]


def test_an_existing_image_is_passed_on_by_its_digest(results: Results) -> None:
    held, digest = {"7": image("7")}, image("7").digest
    outputs, resolved = results(held)
    assert outputs == {
        "version": "7", "slug": "iris", "build": "false", "layered": "false", "digest": digest,
        "image": f"r.example/iris@{digest}",
    }  # fmt: skip
    assert resolved.digest == digest
    outputs, resolved = results(held, force=True)
    assert outputs["build"] == "true"
    assert not outputs.keys() & {"digest", "image"}
    assert resolved.digest == ""


@pytest.mark.parametrize(
    ("secret", "notices"),
    [({}, 0), ({"docker_username_secret": "iris"}, 1), ({"mlflow_tracking_token": "x\nexample"}, 1)],
)
def test_an_image_whose_name_contains_a_secret_is_announced_as_no_output(
    results: Results, capsys: pytest.CaptureFixture[str], secret: dict[str, str], notices: int
) -> None:
    results({"7": image("7")}, **secret)
    assert capsys.readouterr().out.count("::notice") == notices


def test_a_dry_run_asks_for_no_push(results: Results) -> None:
    outputs, _ = results({}, push=False)
    assert outputs["build"] == "true"


@pytest.mark.parametrize("values", [{"has_sbom": True}, {"attested": True}])
def test_what_enterprise_server_lacks_is_refused_there_before_anything_is_built(
    results: Results, values: dict[str, bool]
) -> None:
    with pytest.raises(InvalidInput):
        results({}, github_api_url="https://github.example/api/v3", **values)
    results({}, github_api_url="https://api.acme.ghe.com", **values)


def test_attestations_that_are_required_but_not_made_are_refused(results: Results) -> None:
    with pytest.raises(InvalidInput):
        results({}, require_attestations=True)
    results({}, require_attestations=True, attested=True)


@pytest.mark.parametrize("values", [{}, {"attested": True}, {"force": True}])
def test_only_an_image_that_nobody_attests_takes_layers_of_an_earlier_one(
    results: Results, values: dict[str, bool]
) -> None:
    held = {"6": layered_image("6")}
    _, resolved = results(held, builder="layered", **values)
    assert resolved.previous == ("" if values else held["6"].digest)


METADATA = ModelMetadata("3.17.2", "3.11.7", has_serving_example=False)
ASKED = Builder("layered", layered_only=("base-image",))


def model(folder: Path, flavor: str = "sklearn", requirements: str = "numpy") -> Path:
    (folder / "MLmodel").write_text(f"flavors: {{python_function: {{}}, {flavor}: {{}}}}")
    (folder / "python_env.yaml").write_text("dependencies: [-r requirements.txt]")
    (folder / "requirements.txt").write_text(requirements)
    return folder


def test_a_model_that_layers_can_hold_keeps_its_builder(tmp_path: Path) -> None:
    assert choose_builder(ASKED, model(tmp_path), METADATA) == ASKED


def test_mlflows_own_builder_is_not_asked_whether_layers_could_hold_the_model(tmp_path: Path) -> None:
    assert choose_builder(Builder(), tmp_path, METADATA) == Builder()


@pytest.mark.parametrize("written", [{"flavor": "spark"}, {"requirements": "./mine.whl"}, {"requirements": "-i x"}])
def test_a_model_that_only_mlflows_builder_supports_goes_to_it_with_a_notice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: dict[str, str]
) -> None:
    assert choose_builder(Builder("layered"), model(tmp_path, **written), METADATA) == Builder("mlflow")
    assert capsys.readouterr().out.startswith("::notice ")


def test_a_model_that_only_mlflows_builder_supports_is_refused_with_an_input_that_only_layered_supports(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnsupportedModel) as raised:
        choose_builder(ASKED, model(tmp_path, "spark"), METADATA)
    assert "base-image" in raised.value.message
    assert raised.value.hint


def test_unsafe_metadata_never_leads_to_another_builder(tmp_path: Path) -> None:
    with pytest.raises(UnsafeMetadata):
        choose_builder(Builder("layered"), model(tmp_path, requirements="numpy; python_version > '$X'"), METADATA)


@pytest.mark.parametrize(
    "error",
    [
        UnsafeMetadata("requirements.txt has $X", "build it with `builder: mlflow`"),
        UnsupportedModel("requirements.txt has an option", "build it with `builder: mlflow`"),
    ],
)
def test_only_the_errors_field_leads_to_mlflows_builder_and_not_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BridgeError
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(resolving, "plan_layers", refuse)
    with pytest.raises(type(error)) as raised:
        choose_builder(Builder("layered"), tmp_path, METADATA)
    assert raised.value is error
