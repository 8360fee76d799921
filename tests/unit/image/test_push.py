import hashlib
from pathlib import Path

import pytest

from bridge.image.errors import ImageConflict, RegistryError
from bridge.image.metadata import ModelMetadata
from bridge.image.push import held_already, push_tested
from bridge.image.registry import RegistryImage
from bridge.image.workspace import Plan

from .memory import MemoryRepository, image
from .programs import Programs

PLAN = Plan("iris", "7", "models:/m-7", "", "r.example/iris", "ping", ModelMetadata("3.17.2", "3.11.7", False))


def repository(held: RegistryImage | None) -> MemoryRepository:
    return MemoryRepository("r.example/iris", images={"7": held} if held else {})


def test_an_image_that_another_run_pushed_meanwhile_stays() -> None:
    assert held_already(repository(image("7")), PLAN, force=False) == image("7").digest


def test_an_empty_tag_and_a_forced_one_are_pushed_to() -> None:
    assert held_already(repository(None), PLAN, force=False) is None
    assert held_already(repository(image("7")), PLAN, force=True) is None
    assert held_already(repository(image("7", source="models:/m-old")), PLAN, force=True) is None


@pytest.mark.parametrize("held", [image("7", source="models:/m-old"), image("7", model="other")])
def test_what_must_stay_is_not_pushed_over(held: RegistryImage) -> None:
    with pytest.raises(ImageConflict, match="put there while this run was building"):
        held_already(repository(held), PLAN, force=False)


def test_somebody_elses_image_is_not_pushed_over_by_force_either() -> None:
    with pytest.raises(ImageConflict, match="not ours, or of another model"):
        held_already(repository(image("7", model="other")), PLAN, force=True)


@pytest.mark.parametrize("tested", ["config of sha256:5f", "sha256:5f"])
def test_the_image_in_the_registry_is_the_one_that_was_tested(programs: Programs, tested: str) -> None:
    programs.say("docker image")
    programs.say("docker push", "7: digest: sha256:5f size: 1\n")
    assert push_tested(repository(None), PLAN, tested) == "sha256:5f"
    assert programs.calls[0][1] == ["image", "tag", tested, "r.example/iris:7"]


def test_another_image_in_the_registry_than_the_one_that_was_tested_is_told(programs: Programs) -> None:
    programs.say("docker image")
    programs.say("docker push", "7: digest: sha256:5f size: 1\n")
    with pytest.raises(RegistryError, match=r"not the image that was tested .sha256:other"):
        push_tested(repository(None), PLAN, "sha256:other")


@pytest.mark.parametrize(("tested", "fits"), [("config of {}", True), ("sha256:other", False)])
def test_of_an_image_in_layers_the_parts_are_pushed_and_compared_alike(
    programs: Programs, tmp_path: Path, tested: str, fits: bool
) -> None:
    programs.say("skopeo")
    (tmp_path / "manifest.json").write_bytes(b"{}")
    digest = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    if fits:
        assert push_tested(repository(None), PLAN, tested.format(digest), tmp_path) == digest
    else:
        with pytest.raises(RegistryError, match="not the image that was tested"):
            push_tested(repository(None), PLAN, tested, tmp_path)
    assert programs.calls[0][1][-2:] == [f"dir:{tmp_path}", "docker://r.example/iris:7"]
