from dataclasses import replace

from bridge.image.promote import Promotion, Settled
from bridge.image.registry import RegistryImage

from .memory import MemoryMlflow, MemoryRepository, image, version


def promotion(mlflow: MemoryMlflow, repository: MemoryRepository) -> Promotion:
    return Promotion(mlflow, repository, "iris")


def registry(**images: RegistryImage) -> MemoryRepository:
    return MemoryRepository("r.example/iris", images={tag.lstrip("v"): held for tag, held in images.items()})


def test_every_alias_becomes_a_tag_on_its_versions_image() -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"), v2=image("2"))
    mlflow.by_alias = {"champion": "2", "challenger": "1"}
    settled = promotion(mlflow, repository).settle()
    assert (settled.tags, settled.remarks) == (["challenger", "champion"], [])
    assert repository.images["champion"] == image("2")
    assert repository.images["challenger"] == image("1")


def test_a_tag_that_is_right_is_left_alone() -> None:
    mlflow, repository = MemoryMlflow(version("1")), registry(v1=image("1"), champion=image("1"))
    mlflow.by_alias = {"champion": "1"}
    assert promotion(mlflow, repository).settle().tags == ["champion"]
    assert repository.copies == []


def test_an_alias_that_moves_meanwhile_ends_where_mlflow_has_it() -> None:
    moves = iter(["2"])
    mlflow = MemoryMlflow(version("1"), version("2"), on_read=lambda now: now.update(champion=next(moves, "2")))
    mlflow.by_alias = {"champion": "1"}
    repository = registry(v1=image("1"), v2=image("2"))
    settled = promotion(mlflow, repository).settle()
    assert repository.images["champion"] == image("2")
    assert settled.remarks == []


def test_aliases_that_never_rest_are_given_up_with_a_remark() -> None:
    turns = iter(range(1000))
    mlflow = MemoryMlflow(version("1"), version("2"), on_read=lambda now: now.update(champion=str(1 + next(turns) % 2)))
    mlflow.by_alias = {"champion": "2"}
    settled = promotion(mlflow, registry(v1=image("1"), v2=image("2"))).settle()
    assert settled.remarks == ["the aliases of 'iris' changed 10 times meanwhile: run it again"]


def test_aliases_that_can_be_no_tags_or_have_no_image_are_passed_over_with_the_reason() -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"))
    mlflow.by_alias = {"7": "1", "-x": "1", "next": "2", "champion": "1"}
    settled = promotion(mlflow, repository).settle()
    assert settled.tags == ["champion"]
    assert settled.remarks == [
        "alias '-x' can't be an image's tag: choose another name for it",
        "alias '7' can't be an image's tag: choose another name for it",
        "alias 'next' is on version 2, which has no image of its own yet",
    ]


def test_a_tag_that_holds_somebody_elses_image_is_not_moved() -> None:
    theirs = RegistryImage("sha256:theirs")
    mlflow, repository = MemoryMlflow(version("1")), registry(v1=image("1"), champion=theirs)
    mlflow.by_alias = {"champion": "1"}
    settled = promotion(mlflow, repository).settle()
    assert settled.tags == []
    assert settled.remarks == ["r.example/iris:champion holds an image that isn't this model's: delete it"]
    assert repository.images["champion"] == theirs


def test_an_image_of_a_deleted_model_is_not_taken_for_that_of_the_model_made_again() -> None:
    mlflow, repository = MemoryMlflow(version("1", source="models:/m-new")), registry(v1=image("1"))
    mlflow.by_alias = {"champion": "1"}
    assert promotion(mlflow, repository).settle().tags == []
    assert "champion" not in repository.images


def test_where_no_tag_may_be_moved_an_alias_stays_and_the_run_goes_on() -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"), v2=image("2"))
    mlflow.by_alias = {"champion": "1"}
    fixed = replace(repository, immutable=True)
    assert promotion(mlflow, fixed).settle().tags == ["champion"]
    mlflow.by_alias = {"champion": "2", "challenger": "2"}
    settled = promotion(mlflow, fixed).settle()
    assert settled.tags == ["challenger"]
    assert settled.remarks == [
        "r.example/iris:champion was not moved, for the registry lets no tag be moved: allow it there"
    ]
    assert repository.images["champion"] == image("1")


def test_latest_is_the_newest_version_that_has_an_image_of_its_own() -> None:
    mlflow = MemoryMlflow(version("2"), version("9"), version("10", source="models:/m-new"))
    held = registry(v2=image("2"), v9=image("9"), v10=image("10"), v11=image("11"), champion=image("2"))
    settled = Settled()
    promotion(mlflow, held).tag_latest(settled)
    assert held.images["latest"] == image("9")
    assert settled.tags == ["latest"]


def test_without_any_image_there_is_no_latest() -> None:
    held = registry(champion=image("2"))
    promotion(MemoryMlflow(version("2")), held).tag_latest(Settled())
    assert "latest" not in held.images
