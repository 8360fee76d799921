from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.image.builders.choice import Builder
from bridge.image.errors import DiskTooSmall, RegistryError, UnsafeMetadata, UnsupportedModel
from bridge.image.labels import LAYERED_RECIPE
from bridge.image.metadata import ModelMetadata
from bridge.image.registry.client import RegistryImage
from bridge.image.settings import ImageSettings
from bridge.image.steps import resolve as resolving
from bridge.image.steps.resolve import able, check_disk, earlier_image, resolve
from tests.unit.image.in_memory import MemoryMlflow, MemoryRepository, image, version


def test_a_model_that_fits_three_times_is_taken_and_a_byte_more_is_not() -> None:
    check_disk(100, 300)
    with pytest.raises(DiskTooSmall, match=r"runner has 0\.0 GB free: use a larger runner"):
        check_disk(101, 300)


def layered_image(number: str, **others: str) -> RegistryImage:
    return image(number, recipe=LAYERED_RECIPE, **others)


def test_the_last_image_in_layers_before_this_version_is_built_upon() -> None:
    held = {"3": layered_image("3"), "5": layered_image("5"), "6": image("6"), "8": layered_image("8")}
    there = MemoryRepository("r.example/iris", images=held)
    assert earlier_image(there, version("7")) == held["5"].digest


@pytest.mark.parametrize("held", [{}, {"6": image("6")}, {"6": layered_image("6", model="other")}])
def test_an_image_of_another_model_or_builder_is_not_built_upon(held: dict[str, RegistryImage]) -> None:
    assert earlier_image(MemoryRepository("r.example/iris", images=held), version("7")) == ""


def test_the_first_version_and_one_long_after_the_last_image_are_built_upon_nothing() -> None:
    there = MemoryRepository("r.example/iris", images={"1": layered_image("1")})
    assert earlier_image(there, version("1")) == ""
    assert earlier_image(there, version("6")) == layered_image("1").digest
    assert earlier_image(there, version("7")) == ""


def test_a_registry_that_fails_while_looking_back_is_told_of_and_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Failing(MemoryRepository):
        def inspect(self, tag: str) -> RegistryImage | None:
            raise RegistryError("r.example/iris: the registry failed: run the job again")

    assert earlier_image(Failing("r.example/iris"), version("7")) == ""
    assert "no earlier image is built upon: r.example/iris: the registry failed" in capsys.readouterr().out


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Run the step for version 7 in a repository that holds these images; give its outputs."""

    def run(held: dict[str, RegistryImage], name: str = "r.example/iris", **values: Any) -> dict[str, str]:
        file = tmp_path / "outputs"
        file.unlink(missing_ok=True)
        monkeypatch.setenv("GITHUB_OUTPUT", str(file))
        monkeypatch.setattr(ImageSettings, "mlflow", lambda _: MemoryMlflow(version("7")))
        monkeypatch.setattr(resolving, "repository_of", lambda *_: MemoryRepository(name, images=held))
        monkeypatch.setattr(resolving, "_check_source", lambda *given: given[-1])
        resolve(ImageSettings(model="iris", version="7", **values))
        lines = file.read_text().splitlines()
        return {lines[at].partition("<<")[0]: lines[at + 1] for at in range(0, len(lines), 3)}

    return run


def test_what_is_found_is_handed_on_by_its_digest(outputs: Callable[..., dict[str, str]]) -> None:
    held = {"7": image("7")}
    said = outputs(held)
    assert (said["build"], said["digest"]) == ("false", image("7").digest)
    said = outputs(held, force=True)
    assert (said["build"], said["digest"]) == ("true", "")


@pytest.mark.parametrize(("name", "former"), [("r.example/iris", "false"), ("r.example/iris-0123af", "true")])
def test_the_repository_is_handed_on_as_the_choice_of_its_name(
    outputs: Callable[..., dict[str, str]], name: str, former: str
) -> None:
    assert outputs({}, name)["former_name"] == former


@pytest.mark.parametrize("given", [{}, {"attested": True}, {"force": True}])
def test_only_an_image_that_nobody_attests_takes_layers_of_an_earlier_one(
    outputs: Callable[..., dict[str, str]], given: dict[str, bool]
) -> None:
    held = {"6": layered_image("6")}
    assert outputs(held, builder="layered", **given)["previous"] == ("" if given else held["6"].digest)


METADATA = ModelMetadata("3.17.2", "3.11.7", has_serving_example=False)
ASKED = Builder("layered", asked=("base-image",))


def model(folder: Path, flavor: str = "sklearn", requirements: str = "numpy") -> Path:
    (folder / "MLmodel").write_text(f"flavors: {{python_function: {{}}, {flavor}: {{}}}}")
    (folder / "python_env.yaml").write_text("dependencies: [-r requirements.txt]")
    (folder / "requirements.txt").write_text(requirements)
    return folder


def test_a_model_that_layers_can_hold_keeps_its_builder(tmp_path: Path) -> None:
    assert able(ASKED, model(tmp_path), METADATA) == ASKED


def test_mlflows_own_builder_is_not_asked_whether_layers_could_hold_the_model(tmp_path: Path) -> None:
    assert able(Builder(), tmp_path, METADATA) == Builder()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"flavor": "spark"}, "MLmodel has the flavor spark, which needs Java"),
        ({"requirements": "./mine.whl"}, "requirements.txt requires './mine.whl', which is not a named package"),
        ({"requirements": "--extra-index-url https://two.example"}, "requirements.txt has the option "),
    ],
)
def test_a_model_that_layers_cannot_hold_goes_to_mlflows_own_builder_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: dict[str, str], reason: str
) -> None:
    assert able(Builder("layered"), model(tmp_path, **written), METADATA) == Builder("mlflow")
    said = capsys.readouterr().out
    assert said.startswith(f"::notice title=Built by MLflow's own builder::{reason}")
    with pytest.raises(UnsupportedModel, match=r"and base-image only that one knows: leave that out"):
        able(ASKED, tmp_path, METADATA)


def test_what_no_builder_mends_stays_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeMetadata, match="secret"):
        able(Builder("layered"), model(tmp_path, requirements="numpy; python_version > '$X'"), METADATA)
