import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.image.errors import GateFailed, ImageConflict, RegistryError
from bridge.image.registry.client import RegistryImage
from bridge.image.settings import ImageSettings
from bridge.image.steps import promote as promoting
from bridge.image.steps.promote import Promotion, promote
from bridge.image.steps.report import MovedTag
from bridge.image.workspace import Resolved, Workspace
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
    assert (promotion.tags, promotion.held) == ({"challenger": "1", "champion": "2"}, [])
    assert repository.images["champion"] == image("2")
    assert repository.images["challenger"] == image("1")


def test_a_tag_that_is_right_is_left_alone() -> None:
    mlflow, repository = MemoryMlflow(version("1")), registry(v1=image("1"), champion=image("1"))
    mlflow.by_alias = {"champion": "1"}
    assert promoted(mlflow, repository).tags == {"champion": "1"}
    assert repository.copies == []


def test_an_alias_that_moves_meanwhile_ends_where_mlflow_has_it() -> None:
    moves = iter(["2"])
    mlflow = MemoryMlflow(version("1"), version("2"), on_read=lambda now: now.update(champion=next(moves, "2")))
    mlflow.by_alias = {"champion": "1"}
    repository = registry(v1=image("1"), v2=image("2"))
    promotion = promoted(mlflow, repository)
    assert repository.images["champion"] == image("2")
    assert promotion.held == []
    assert promotion.moved["champion"] == MovedTag("champion", "2", image("2").digest, None)


def test_aliases_that_never_rest_are_given_up_with_a_warning() -> None:
    turns = iter(range(1000))
    mlflow = MemoryMlflow(version("1"), version("2"), on_read=lambda now: now.update(champion=str(1 + next(turns) % 2)))
    mlflow.by_alias = {"champion": "2"}
    promotion = promoted(mlflow, registry(v1=image("1"), v2=image("2")))
    assert [held.alias for held in promotion.held] == ["champion"]


def test_aliases_that_can_be_no_tags_or_have_no_image_are_passed_over_with_the_reason() -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"))
    mlflow.by_alias = {"7": "1", "-x": "1", "next": "2", "champion": "1"}
    promotion = promoted(mlflow, repository)
    assert promotion.tags == {"champion": "1"}
    assert [(held.alias, held.version) for held in promotion.held] == [("-x", "1"), ("7", "1"), ("next", "2")]


THEIRS = [image("1", model="other"), RegistryImage("sha256:theirs")]


@pytest.mark.parametrize("theirs", THEIRS)
def test_a_tag_that_holds_somebody_elses_image_stays_and_is_an_error_beside_the_other_aliases(
    theirs: RegistryImage,
) -> None:
    mlflow, repository = MemoryMlflow(version("1")), registry(v1=image("1"), champion=theirs)
    mlflow.by_alias = {"champion": "1", "stable": "1"}
    promotion = promoted(mlflow, repository)
    assert (promotion.tags, promotion.held, len(promotion.conflicts)) == ({"stable": "1"}, [], 1)
    assert repository.images["champion"] == theirs


@pytest.mark.parametrize("theirs", THEIRS)
def test_a_version_that_holds_somebody_elses_image_is_an_error_and_gets_no_alias(theirs: RegistryImage) -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"), v2=theirs)
    mlflow.by_alias = {"champion": "2", "stable": "1"}
    promotion = promoted(mlflow, repository)
    assert (promotion.tags, promotion.held, len(promotion.conflicts)) == ({"stable": "1"}, [], 1)
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
        repository: MemoryRepository,
        *,
        digest: str = "",
        aliases: dict[str, str] | None = None,
        command: str = "",
        gate: str | None = None,
        required: bool = False,
        **tags: str,
    ) -> list[tuple[str, str]]:
        mlflow = MemoryMlflow(version("1", **tags), version("2"))
        mlflow.by_alias = aliases or {}
        monkeypatch.setattr(ImageSettings, "mlflow", lambda _: mlflow)
        monkeypatch.setattr(promoting, "Repository", lambda *_: repository)
        workspace = Workspace(tmp_path)
        workspace.write_resolved(Resolved("iris", "1", "models:/m-1", "", repository.name, digest, ""))
        if gate is not None:
            workspace.write_gate(gate)
        promote(ImageSettings(gate=command, require_attestations=required), workspace)
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
    assert promoted(mlflow, repository).tags == {}
    assert "champion" not in repository.images


def test_where_no_tag_may_be_moved_an_alias_stays_and_the_run_goes_on() -> None:
    mlflow, repository = MemoryMlflow(version("1"), version("2")), registry(v1=image("1"), v2=image("2"))
    mlflow.by_alias = {"champion": "1"}
    fixed = replace(repository, immutable=True)
    assert promoted(mlflow, fixed).tags == {"champion": "1"}
    mlflow.by_alias = {"champion": "2", "challenger": "2"}
    promotion = promoted(mlflow, fixed)
    assert promotion.tags == {"challenger": "2"}
    assert [held.alias for held in promotion.held] == ["champion"]
    assert repository.images["champion"] == image("1")


def test_latest_is_the_newest_version_that_has_an_image_of_its_own() -> None:
    mlflow = MemoryMlflow(version("2"), version("9"), version("10", source="models:/m-new"))
    held = registry(v2=image("2"), v9=image("9"), v10=image("10"), v11=image("11"), champion=image("2"))
    promotion = Promotion(mlflow, held, "iris")
    promotion.set_latest()
    assert held.images["latest"] == image("9")
    assert promotion.tags == {"latest": "9"}


def test_latest_is_a_version_that_another_run_pushes_meanwhile() -> None:
    held = registry(v1=image("1"))

    class Racing(MemoryRepository):
        def tag(self, digest: str, tag: str) -> None:
            self.images.setdefault("2", image("2"))
            super().tag(digest, tag)

    racing = Racing(held.name, images=held.images)
    Promotion(MemoryMlflow(version("1"), version("2")), racing, "iris").set_latest()
    assert held.images["latest"] == image("2")


def test_the_result_has_the_tags_that_were_moved_before_the_registry_failed(
    written: Callable[..., list[tuple[str, str]]], tmp_path: Path
) -> None:
    class Failing(MemoryRepository):
        def tag(self, digest: str, tag: str) -> None:
            if tag == "stable":
                raise RegistryError("the registry returned an error")
            super().tag(digest, tag)

    held = Failing("r.example/iris", images={"1": image("1")})
    with pytest.raises(RegistryError):
        written(held, digest=image("1").digest, aliases={"champion": "1", "stable": "1"})
    result = json.loads((tmp_path / "mlflow-image.json").read_text())
    assert [moved["tag"] for moved in result["moved"]] == ["champion"]


@pytest.mark.parametrize(("digest", "aliases"), [(image("1").digest, '["champion"]'), ("", "[]"), ("sha256:x", "[]")])
def test_the_output_aliases_is_about_the_image_of_the_other_outputs(
    written: Callable[..., list[tuple[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    digest: str,
    aliases: str,
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    held = registry(v1=image("1"))
    written(held, digest=digest, aliases={"champion": "1"})
    assert held.images["champion"] == image("1")
    assert aliases in (tmp_path / "output").read_text().splitlines()


def test_without_any_image_there_is_no_latest() -> None:
    held = registry(champion=image("2"))
    Promotion(MemoryMlflow(version("2")), held, "iris").set_latest()
    assert "latest" not in held.images


def test_a_gate_moves_only_the_aliases_of_its_version_and_only_to_the_image_that_it_checked(
    written: Callable[..., list[tuple[str, str]]], tmp_path: Path
) -> None:
    held = registry(v1=image("1"), v2=image("2"), champion=image("2"))
    aliases = {"champion": "1", "stable": "2"}
    tags = written(held, digest=image("1").digest, aliases=aliases, command="true", gate="")
    assert held.images["champion"] == image("1")
    assert "stable" not in held.images
    assert ("image.gate", "passed") in tags
    result = json.loads((tmp_path / "mlflow-image.json").read_text())
    assert result["moved"] == [
        {"tag": "champion", "version": "1", "digest": image("1").digest, "previous": image("2").digest}
    ]
    planted = registry(v1=image("1"))
    assert written(planted, digest="sha256:checked", aliases={"champion": "1"}, command="true", gate="") == []
    assert "champion" not in planted.images
    assert [alias["alias"] for alias in json.loads((tmp_path / "mlflow-image.json").read_text())["held"]] == [
        "champion"
    ]


@pytest.mark.parametrize("gate", [None, "status 1"])
def test_an_alias_never_moves_past_a_gate_that_has_not_passed(
    written: Callable[..., list[tuple[str, str]]], gate: str | None
) -> None:
    held = registry(v1=image("1"))
    with pytest.raises(GateFailed):
        written(held, digest=image("1").digest, aliases={"champion": "1"}, command="false", gate=gate)
    assert set(held.images) == {"1"}


@pytest.mark.parametrize(("number", "digest", "moves"), [("2", "", True), ("2", "sha256:x", False), ("1", "", False)])
def test_behind_a_gate_latest_moves_only_to_the_image_that_passed(number: str, digest: str, moves: bool) -> None:
    held = registry(v1=image("1"), v2=image("2"))
    checked = (number, digest or image(number).digest)
    Promotion(MemoryMlflow(version("1"), version("2")), held, "iris", checked).set_latest()
    assert ("latest" in held.images) is moves


def test_all_aliases_that_could_not_be_tagged_are_in_one_notice(
    written: Callable[..., list[tuple[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    written(registry(v1=image("1")), digest=image("1").digest, aliases={str(number): "1" for number in range(20)})
    assert capsys.readouterr().out.count("::notice") == 1


def test_an_alias_does_not_stay_on_an_image_that_another_run_replaces_meanwhile() -> None:
    class Replaced(MemoryRepository):
        def tag(self, digest: str, tag: str) -> None:
            super().tag(digest, tag)
            if not self.copies[1:]:  # a forced build pushes just then
                self.images["1"] = replace(image("1"), digest="sha256:rebuilt")

    mlflow, repository = MemoryMlflow(version("1")), Replaced("r.example/iris", images={"1": image("1")})
    mlflow.by_alias = {"champion": "1"}
    promotion = promoted(mlflow, repository)
    assert repository.images["champion"].digest == "sha256:rebuilt"
    assert promotion.moved["champion"] == MovedTag("champion", "1", "sha256:rebuilt", None)


def test_where_attestations_are_required_only_the_aliases_of_this_version_move(
    written: Callable[..., list[tuple[str, str]]],
) -> None:
    held = registry(v1=image("1"), v2=image("2"))
    written(held, digest=image("1").digest, aliases={"champion": "1", "stable": "2"}, required=True)
    assert held.images["champion"] == image("1")
    assert "stable" not in held.images


def test_behind_a_gate_an_alias_that_moves_away_while_its_tag_is_set_is_an_error() -> None:
    mlflow = MemoryMlflow(version("1"), version("2"))
    mlflow.by_alias = {"champion": "1", "stable": "1"}

    class Moving(MemoryRepository):
        def tag(self, digest: str, tag: str) -> None:
            super().tag(digest, tag)
            mlflow.by_alias["champion"] = "2"

    repository = Moving("r.example/iris", images={"1": image("1"), "2": image("2")})
    promotion = Promotion(mlflow, repository, "iris", ("1", image("1").digest))
    promotion.set_alias_tags()
    assert len(promotion.conflicts) == 1
    assert repository.images["stable"] == image("1")
