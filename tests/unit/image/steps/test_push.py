import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.image.builders.choice import LAYERED, Builder
from bridge.image.errors import ImageConflict, RegistryError
from bridge.image.labels import LAYERED_RECIPE
from bridge.image.metadata import ModelMetadata
from bridge.image.registry.client import RegistryImage
from bridge.image.settings import ImageSettings
from bridge.image.steps import push as pushing
from bridge.image.steps.push import push, push_tested
from bridge.image.workspace import Plan, Resolved, Workspace
from tests.unit.image.fake_programs import Programs
from tests.unit.image.in_memory import MemoryRepository, image

PLAN = Plan("iris", "7", "models:/m-7", "", "r.example/iris", "ping", ModelMetadata("3.17.2", "3.11.7", False))


def repository(held: RegistryImage | None) -> MemoryRepository:
    return MemoryRepository("r.example/iris", images={"7": held} if held else {})


def workspace(folder: Path, plan: Plan = PLAN, *, tested: str = "sha256:tested") -> Workspace:
    """As the build step leaves it."""
    workspace = Workspace(folder / "work")
    workspace.write_resolved(Resolved("iris", "7", "models:/m-7", "", plan.repository, "", ""))
    workspace.write_plan(plan)
    workspace.write_image_id(tested)
    return workspace


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


def held(monkeypatch: pytest.MonkeyPatch, there: RegistryImage | None) -> None:
    monkeypatch.setattr(pushing, "Repository", lambda *_: repository(there))


def test_an_image_that_somebody_else_pushed_meanwhile_stays_and_is_not_reported(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, outputs: Path, tmp_path: Path
) -> None:
    held(monkeypatch, image("7"))
    work = workspace(tmp_path)
    push(ImageSettings(), work)
    assert not outputs.exists()
    assert not work.has_pushed()
    assert programs.calls == []


@pytest.mark.parametrize("tested", ["config of {}", "{}"])
def test_the_image_that_this_run_tested_is_its_own_whoever_pushed_it(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, outputs: Path, tmp_path: Path, tested: str
) -> None:
    held(monkeypatch, image("7"))
    work = workspace(tmp_path, tested=tested.format(image("7").digest))
    push(ImageSettings(), work)
    assert image("7").digest in outputs.read_text()
    assert work.digest() == image("7").digest
    assert programs.calls == []


def test_of_an_image_in_layers_the_same_configuration_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, outputs: Path, tmp_path: Path
) -> None:
    there = image("7", recipe=LAYERED_RECIPE)
    held(monkeypatch, there)
    work = workspace(tmp_path, replace(PLAN, builder=Builder(LAYERED)), tested=f"config of {there.digest}")
    work.image.mkdir()
    (work.image / "manifest.json").write_bytes(b"{}")
    push(ImageSettings(), work)
    assert not outputs.exists()


@pytest.mark.parametrize("there", [None, image("7", source="models:/m-old"), image("7")])
def test_what_is_set_is_what_was_pushed(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, outputs: Path, tmp_path: Path, there: RegistryImage | None
) -> None:
    programs.say("docker image")
    programs.say("docker push", "7: digest: sha256:5f size: 1\n")
    held(monkeypatch, there)
    work = workspace(tmp_path, tested="sha256:5f")
    push(ImageSettings(force=there is not None), work)
    assert "sha256:5f" in outputs.read_text()
    assert work.digest() == "sha256:5f"


@pytest.mark.parametrize("there", [image("7", source="models:/m-old"), image("7", model="other")])
def test_what_must_stay_is_not_pushed_over(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: RegistryImage
) -> None:
    held(monkeypatch, there)
    with pytest.raises(ImageConflict):
        push(ImageSettings(), workspace(tmp_path))
    assert programs.calls == []


@pytest.mark.parametrize("tested", ["config of sha256:5f", "sha256:5f"])
def test_the_image_in_the_registry_is_the_one_that_was_tested(programs: Programs, tested: str) -> None:
    programs.say("docker image")
    programs.say("docker push", "7: digest: sha256:5f size: 1\n")
    assert push_tested(repository(None), PLAN, tested) == "sha256:5f"
    assert programs.calls[0][1] == ["image", "tag", tested, "r.example/iris:7"]


def test_another_image_in_the_registry_than_the_tested_one_is_an_error(programs: Programs) -> None:
    programs.say("docker image")
    programs.say("docker push", "7: digest: sha256:5f size: 1\n")
    with pytest.raises(RegistryError, match="sha256:other"):
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
        with pytest.raises(RegistryError):
            push_tested(repository(None), PLAN, tested, tmp_path)
    assert programs.calls[0][1][-2:] == [f"dir:{tmp_path}", "docker://r.example/iris:7"]
