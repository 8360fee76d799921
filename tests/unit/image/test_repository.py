from typing import Any

import pytest

from bridge.image import repository
from bridge.image.errors import ImageConflict, RegistryError
from bridge.image.labels import LAYERED_RECIPE
from bridge.image.naming import former_slug, slug
from bridge.image.registry.client import RegistryImage, Repository
from bridge.image.repository import holds_only, image_to_keep, repository_of
from bridge.image.settings import ImageSettings
from tests.unit.image.in_memory import MemoryRepository, image

MODEL = "Iris Clf (EU)"
NEW, FORMER = f"r.example/demo/{slug(MODEL)}", f"r.example/demo/{former_slug(MODEL)}"


def keep(held: RegistryImage | None, *, force: bool = False) -> RegistryImage | None:
    there = MemoryRepository("r.example/iris", images={"7": held} if held else {})
    return image_to_keep(there, model="iris", version="7", source="models:/m-7", force=force)


def test_a_version_without_an_image_has_none_to_keep() -> None:
    assert keep(None) is None


@pytest.mark.parametrize("recipe", ["mlflow-build-docker/1", LAYERED_RECIPE, "older/0"])
def test_a_versions_image_stays_unless_a_build_is_forced(recipe: str) -> None:
    held = image("7", recipe=recipe)
    assert keep(held) == held
    assert keep(held, force=True) is None


def test_an_older_recipe_is_in_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    keep(image("7", recipe="older/0"))
    assert capsys.readouterr().out.startswith("::notice ")


def test_an_image_of_another_source_stays_unless_a_build_is_forced() -> None:
    held = image("7", source="models:/m-old")
    with pytest.raises(ImageConflict, match=r"models:/m-old.*models:/m-7"):
        keep(held)
    assert keep(held, force=True) is None


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("held", [image("7", model="other"), image("8"), RegistryImage("sha256:x")])
def test_an_image_that_is_not_this_models_is_never_overwritten(held: RegistryImage, force: bool) -> None:
    with pytest.raises(ImageConflict):
        keep(held, force=force)


@pytest.mark.parametrize(
    ("held", "only"),
    [
        ({}, False),
        ({"champion": image("1")}, False),
        ({"1": image("1"), "12": image("12"), "latest": image("1", model="other")}, True),
        ({"1": image("1"), "2": image("2", model="other")}, False),
        ({"1": image("1"), "2": RegistryImage("sha256:no labels")}, False),
        ({"1": image("1", model="other")}, False),
    ],
)
def test_a_repository_is_a_models_own_where_all_of_its_versions_are(held: dict[str, RegistryImage], only: bool) -> None:
    assert holds_only(MemoryRepository("r.example/iris", images=held), "iris") is only


def settings(**values: Any) -> ImageSettings:
    return ImageSettings(docker_registry="r.example", docker_namespace="demo", **values)


class Held:
    """In place of the registry: images by repository; `asked` are the repositories that were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **held: dict[str, RegistryImage]) -> None:
        self.asked: list[str] = []

        def open_repository(name: str, _config: object) -> Repository:
            return MemoryRepository(name, images=held.get(name, {}))

        def only(there: Repository, model: str) -> bool:
            self.asked.append(there.name)
            return holds_only(there, model)

        monkeypatch.setattr(repository, "Repository", open_repository)
        monkeypatch.setattr(repository, "holds_only", only)


@pytest.mark.parametrize(
    ("held", "name"),
    [
        ({}, NEW),
        ({"1": image("1", model=MODEL)}, FORMER),
        ({"1": image("1", model="another")}, NEW),
        ({"1": image("1", model=MODEL), "2": image("2", model="another")}, NEW),
    ],
)
def test_a_former_repository_is_kept_where_it_is_this_models_alone(
    monkeypatch: pytest.MonkeyPatch, held: dict[str, RegistryImage], name: str
) -> None:
    there = Held(monkeypatch, **{FORMER: held})
    assert repository_of(settings(), MODEL).name == name
    assert there.asked == [FORMER]


def test_a_name_that_never_changed_needs_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Held(monkeypatch)
    assert repository_of(settings(), "iris").name == "r.example/demo/iris"
    assert there.asked == []


def test_a_registry_that_fails_decides_nothing() -> None:
    class Failing(MemoryRepository):
        def inspect(self, tag: str) -> RegistryImage | None:
            raise RegistryError("r.example/iris: the registry failed: run the job again")

    with pytest.raises(RegistryError):
        holds_only(Failing("r.example/iris", images={"1": image("1"), "2": image("2")}), "iris")
