from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.image.errors import ImageConflict
from bridge.image.registry.client import RegistryImage
from bridge.image.settings import ImageSettings
from bridge.image.steps import promote as promoting
from bridge.image.steps.promote import Promotion, promote
from tests.unit.image.in_memory import MemoryMlflow, MemoryRepository, image, version


def promoted(mlflow: MemoryMlflow, repository: MemoryRepository) -> Promotion:
    promotion = Promotion(mlflow, repository, "iris")
    promotion.set_alias_tags()
    return promotion


def registry(**images: RegistryImage) -> MemoryRepository:
    return MemoryRepository("r.example/iris", images={tag.lstrip("v"): held for tag, held in images.items()})


def test_every_alias_becomes_a_tag_on_its_versions_image() -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"), v2=image("2"))
    mlflow.by_alias = {"champion": "2", "challenger": "1"}
    promotion = promoted(mlflow, repository)
    assert (promotion.tags, promotion.warnings) == (["challenger", "champion"], [])
    assert repository.images["champion"] == image("2")
    assert repository.images["challenger"] == image("1")


def test_a_tag_that_is_right_is_left_alone() -> None:
    mlflow, repository = MemoryMlflow(version("1")), registry(v1=image("1"), champion=image("1"))
    mlflow.by_alias = {"champion": "1"}
    assert promoted(mlflow, repository).tags == ["champion"]
    assert repository.copies == []


def test_an_alias_that_moves_meanwhile_ends_where_mlflow_has_it() -> None:
    moves = iter(["2"])
    mlflow = MemoryMlflow(version("1"), version("2"), on_read=lambda now: now.update(champion=next(moves, "2")))
    mlflow.by_alias = {"champion": "1"}
    repository = registry(v1=image("1"), v2=image("2"))
    promotion = promoted(mlflow, repository)
    assert repository.images["champion"] == image("2")
    assert promotion.warnings == []


def test_aliases_that_never_rest_are_given_up_with_a_warning() -> None:
    turns = iter(range(1000))
    mlflow = MemoryMlflow(version("1"), version("2"), on_read=lambda now: now.update(champion=str(1 + next(turns) % 2)))
    mlflow.by_alias = {"champion": "2"}
    promotion = promoted(mlflow, registry(v1=image("1"), v2=image("2")))
    assert len(promotion.warnings) == 1


def test_aliases_that_can_be_no_tags_or_have_no_image_are_passed_over_with_the_reason() -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"))
    mlflow.by_alias = {"7": "1", "-x": "1", "next": "2", "champion": "1"}
    promotion = promoted(mlflow, repository)
    assert promotion.tags == ["champion"]
    assert [warning.split("'")[1] for warning in promotion.warnings] == ["-x", "7", "next"]


THEIRS = [image("1", model="other"), RegistryImage("sha256:theirs")]


@pytest.mark.parametrize("theirs", THEIRS)
def test_a_tag_that_holds_somebody_elses_image_stays_and_is_an_error_beside_the_other_aliases(
    theirs: RegistryImage,
) -> None:
    mlflow, repository = MemoryMlflow(version("1")), registry(v1=image("1"), champion=theirs)
    mlflow.by_alias = {"champion": "1", "stable": "1"}
    promotion = promoted(mlflow, repository)
    assert (promotion.tags, promotion.warnings, len(promotion.conflicts)) == (["stable"], [], 1)
    assert repository.images["champion"] == theirs


@pytest.mark.parametrize("theirs", THEIRS)
def test_a_version_that_holds_somebody_elses_image_is_an_error_and_gets_no_alias(theirs: RegistryImage) -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"), v2=theirs)
    mlflow.by_alias = {"champion": "2", "stable": "1"}
    promotion = promoted(mlflow, repository)
    assert (promotion.tags, promotion.warnings, len(promotion.conflicts)) == (["stable"], [], 1)
    assert "champion" not in repository.images


def test_latest_passes_over_a_version_of_somebody_else_and_is_an_error() -> None:
    held = registry(v1=image("1"), v2=image("2", model="other"))
    promotion = Promotion(MemoryMlflow(version("1"), version("2")), held, "iris")
    promotion.set_latest()
    assert held.images["latest"] == image("1")
    assert len(promotion.conflicts) == 1


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    """Run the whole step; return what it has written into MLflow."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))

    def run(
        repository: MemoryRepository, *, digest: str = "", aliases: dict[str, str] | None = None, **tags: str
    ) -> list[tuple[str, str]]:
        mlflow = MemoryMlflow(version("1", **tags))
        mlflow.by_alias = aliases or {}
        monkeypatch.setattr(ImageSettings, "mlflow", lambda _: mlflow)
        monkeypatch.setattr(promoting, "repository_of", lambda *_: repository)
        promote(ImageSettings(model="iris", version="1", digest=digest))
        return mlflow.written

    return run


def test_the_digest_of_this_run_is_written_into_mlflow(written: Callable[..., list[tuple[str, str]]]) -> None:
    held = registry(v1=image("1"))
    assert ("image.uri", f"r.example/iris@{image('1').digest}") in written(held, digest=image("1").digest)


@pytest.mark.parametrize("digest", ["", "sha256:what this run pushed"])
def test_an_image_that_this_run_neither_pushed_nor_found_is_not_written_though_its_labels_are_ours(
    written: Callable[..., list[tuple[str, str]]], digest: str
) -> None:
    held = registry(v1=image("1"))
    assert written(held, digest=digest, aliases={"champion": "1"}) == []
    assert held.images["champion"] == image("1")


def test_an_image_that_another_run_has_written_needs_no_notice(
    written: Callable[..., list[tuple[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"r.example/iris@{image('1').digest}"
    assert written(registry(v1=image("1")), **{"image.uri": uri, "image.status": "pushed"}) == []
    assert "::notice" not in capsys.readouterr().out


def test_a_conflict_fails_the_step_when_all_else_is_done(
    written: Callable[..., list[tuple[str, str]]], tmp_path: Path
) -> None:
    held = registry(v1=image("1"), champion=image("1", model="other"))
    with pytest.raises(ImageConflict):
        written(held, digest=image("1").digest, aliases={"champion": "1", "stable": "1"})
    assert held.images["stable"] == image("1")
    assert (tmp_path / "summary").exists()


@pytest.mark.parametrize("theirs", THEIRS)
def test_a_run_of_a_version_that_holds_somebody_elses_image_fails_and_writes_nothing(
    written: Callable[..., list[tuple[str, str]]], theirs: RegistryImage, tmp_path: Path
) -> None:
    with pytest.raises(ImageConflict):
        written(registry(v1=theirs), digest=theirs.digest)
    assert not (tmp_path / "summary").exists()


def test_an_image_of_a_deleted_model_is_not_taken_for_that_of_the_model_made_again() -> None:
    mlflow, repository = MemoryMlflow(version("1", source="models:/m-new")), registry(v1=image("1"))
    mlflow.by_alias = {"champion": "1"}
    assert promoted(mlflow, repository).tags == []
    assert "champion" not in repository.images


def test_where_no_tag_may_be_moved_an_alias_stays_and_the_run_goes_on() -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"), v2=image("2"))
    mlflow.by_alias = {"champion": "1"}
    fixed = replace(repository, immutable=True)
    assert promoted(mlflow, fixed).tags == ["champion"]
    mlflow.by_alias = {"champion": "2", "challenger": "2"}
    promotion = promoted(mlflow, fixed)
    assert promotion.tags == ["challenger"]
    assert [warning.split()[0] for warning in promotion.warnings] == ["r.example/iris:champion"]
    assert repository.images["champion"] == image("1")


def test_latest_is_the_newest_version_that_has_an_image_of_its_own() -> None:
    mlflow = MemoryMlflow(version("2"), version("9"), version("10", source="models:/m-new"))
    held = registry(v2=image("2"), v9=image("9"), v10=image("10"), v11=image("11"), champion=image("2"))
    promotion = Promotion(mlflow, held, "iris")
    promotion.set_latest()
    assert held.images["latest"] == image("9")
    assert promotion.tags == ["latest"]


def test_without_any_image_there_is_no_latest() -> None:
    held = registry(champion=image("2"))
    Promotion(MemoryMlflow(version("2")), held, "iris").set_latest()
    assert "latest" not in held.images
