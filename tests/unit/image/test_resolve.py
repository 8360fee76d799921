import pytest

from bridge.image.errors import DiskTooSmall, ImageConflict
from bridge.image.registry import RegistryImage
from bridge.image.resolve import check_disk, must_build

from .memory import MemoryRepository, image, version


def repository(held: RegistryImage | None) -> MemoryRepository:
    return MemoryRepository("r.example/iris", images={"7": held} if held else {})


def test_a_version_without_an_image_is_built() -> None:
    assert must_build(repository(None), version("7"), force=False)


@pytest.mark.parametrize("recipe", ["mlflow-build-docker/1", "older/0"])
def test_a_version_whose_image_is_there_is_not_built_unless_forced(recipe: str) -> None:
    there = repository(image("7", recipe=recipe))
    assert not must_build(there, version("7"), force=False)
    assert must_build(there, version("7"), force=True)


def test_an_older_recipe_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    must_build(repository(image("7", recipe="older/0")), version("7"), force=False)
    assert capsys.readouterr().out.startswith(
        "::notice title=Image made another way::r.example/iris:7 is from an older"
    )


def test_another_source_is_refused_naming_both_and_built_when_forced() -> None:
    there = repository(image("7", source="models:/m-old"))
    with pytest.raises(ImageConflict, match="made from models:/m-old, and MLflow now says models:/m-7"):
        must_build(there, version("7"), force=False)
    assert must_build(there, version("7"), force=True)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("held", [image("7", model="other"), RegistryImage("sha256:x")])
def test_an_image_that_is_not_this_models_is_refused_forced_or_not(held: RegistryImage, force: bool) -> None:
    with pytest.raises(ImageConflict, match="never overwritten"):
        must_build(repository(held), version("7"), force=force)


def test_a_model_that_fits_three_times_is_taken_and_a_byte_more_is_not() -> None:
    check_disk(100, 300)
    with pytest.raises(DiskTooSmall, match=r"runner has 0\.0 GB free: use a larger runner"):
        check_disk(101, 300)
