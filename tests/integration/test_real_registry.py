"""The registry steps against a real registry that demands a login, with a real engine and skopeo."""

import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bridge.image.errors import RegistryError
from bridge.image.labels import MODEL
from bridge.image.registry.client import Repository
from bridge.image.registry.credentials import AccessSettings
from bridge.image.registry.push_access import check_push
from bridge.image.repository import image_to_keep, repository_of
from bridge.image.settings import ImageSettings
from bridge.image.steps.promote import Promotion, promote
from bridge.image.steps.push import push, push_tested
from bridge.image.steps.report import HeldAlias
from bridge.image.workspace import Plan, Resolved, Workspace
from tests.flaky_proxy import flaky_proxy
from tests.loopback.registry import Registry
from tests.loopback.stage import missing_for_images
from tests.tiny_images import push_tiny_image, tiny_image
from tests.unit.image.in_memory import MemoryMlflow, version
from tests.unit.image.steps.test_sbom import PLAN
from tests.unit.image.test_naming import SAME_SIX_DIGITS

pytestmark = pytest.mark.skipif(missing_for_images() is not None, reason=str(missing_for_images()))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for sign-ins, Docker's as well as skopeo's."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def sign_in(host: str, registry: Registry, password: str = "") -> None:
    command = ["docker", "login", "--username", registry.user, "--password-stdin", host]
    subprocess.run(command, input=password or registry.password, text=True, check=True, capture_output=True)


def plan(name: str, number: str = "1") -> Plan:
    values = {**PLAN.__dict__, "model": "iris", "version": number, "repository": name, "source": f"models:/m-{number}"}
    return Plan(**values)


def write_plan(work: Workspace, name: str, number: str, digest: str = "") -> None:
    """As the steps before the push leave it; `digest` is what `resolve` has found."""
    work.write_resolved(Resolved("iris", number, f"models:/m-{number}", "", name, digest, ""))
    work.write_plan(plan(name, number))


def new_name(host: str) -> str:
    return f"{host}/demo/iris-{uuid4().hex[:8]}"


def test_the_right_password_reads_and_a_wrong_or_missing_one_is_an_error(registry: Registry, config: Path) -> None:
    name = new_name(registry.host)
    sign_in(registry.host, registry)
    push_tiny_image(name, "iris", "1", "models:/m-1")
    image = Repository(name, config).inspect("1")
    assert image
    assert image.labels[MODEL] == "iris"
    (config / "config.json").write_text("{}")
    with pytest.raises(RegistryError, match="user and password"):
        Repository(name, config).inspect("1")
    with pytest.raises(subprocess.CalledProcessError):
        sign_in(registry.host, registry, "wrong")
    with pytest.raises(RegistryError, match="user and password"):
        Repository(name, config).tag(image.digest, "champion")
    assert registry.tags(name) == {"1": image.digest}


def test_what_docker_itself_signs_in_with_is_accepted_before_a_push_and_by_it(registry: Registry, config: Path) -> None:
    name, access = new_name(registry.host), AccessSettings(docker_registry=registry.host)
    sign_in(registry.host, registry)
    check_push(Repository(name, config), access)
    assert Repository(name, config).tags() == []
    push_tiny_image(name, "iris", "1", "models:/m-1")
    (config / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": "ZGVtbzp3cm9uZw=="}}}))
    with pytest.raises(RegistryError) as before:
        check_push(Repository(name, config), access)
    with pytest.raises(RegistryError) as after, tiny_image("iris", "2", "models:/m-2") as tested:
        push_tested(Repository(name, config), plan(name, "2"), tested)
    assert before.value.hint == after.value.hint


def test_a_registry_that_fails_in_the_middle_of_a_push_leaves_no_tag_and_the_next_push_all(
    registry: Registry, config: Path
) -> None:
    with flaky_proxy(registry.host) as way, tiny_image("iris", "1", "models:/m-1", size=1_000_000) as tested:
        sign_in(way.host, registry)
        name = new_name(way.host)
        held = f"{registry.host}/{name.partition('/')[2]}"
        way.manifests = True
        with pytest.raises(RegistryError, match="the push failed"):
            push_tested(Repository(name, config), plan(name), tested)
        assert way.manifests_cut
        assert registry.tags(held) == {}
        way.manifests = False
        digest = push_tested(Repository(name, config), plan(name), tested)
    assert registry.tags(held) == {"1": digest}


def test_the_image_of_a_version_is_kept(registry: Registry, config: Path) -> None:
    sign_in(registry.host, registry)
    name = new_name(registry.host)
    push_tiny_image(name, "iris", "1", "models:/m-1")
    before = registry.tags(name)
    there = image_to_keep(Repository(name, config), model="iris", version="1", source="models:/m-1")
    assert there
    assert there.digest == before["1"]
    assert registry.tags(name) == before


def new_settings(registry: Registry, config: Path, **values: Any) -> ImageSettings:
    values |= {"docker_registry": registry.host, "docker_config": config}
    return ImageSettings(docker_namespace=f"demo-{uuid4().hex[:8]}", **values)


def test_a_model_that_is_named_as_anothers_slug_gets_another_repository(registry: Registry, config: Path) -> None:
    sign_in(registry.host, registry)
    settings = new_settings(registry, config)
    new, former = settings.repositories("Iris Clf (EU)")
    push_tiny_image(former, "Iris Clf (EU)", "1", "models:/m-1")
    assert repository_of(settings, "Iris Clf (EU)").name == former
    for name in (new, former):
        attacker = repository_of(settings, name.rpartition("/")[2]).name
        assert attacker not in (new, former)
    other = "Iris Clf (US)"
    first = repository_of(settings, other).name
    assert first == settings.repositories(other)[0]
    push_tiny_image(first, other, "1", "models:/m-1")
    assert repository_of(settings, first.rpartition("/")[2]).name != first
    assert repository_of(settings, other).name == first


def test_of_two_models_that_share_a_former_name_neither_keeps_it(registry: Registry, config: Path) -> None:
    sign_in(registry.host, registry)
    settings, (victim, attacker) = new_settings(registry, config), SAME_SIX_DIGITS
    new, former = settings.repositories(victim)
    push_tiny_image(former, victim, "1", "models:/m-1")
    push_tiny_image(former, victim, "2", "models:/m-2")
    assert repository_of(settings, victim).name == former
    assert repository_of(settings, attacker).name == settings.repositories(attacker)[0]
    push_tiny_image(former, attacker, "3", "models:/m-3")
    assert repository_of(settings, victim).name == new
    assert repository_of(settings, attacker).name == settings.repositories(attacker)[0]


def test_if_nobody_may_read_the_registry_no_repository_is_chosen(registry: Registry, config: Path) -> None:
    sign_in(registry.host, registry)
    settings = new_settings(registry, config)
    push_tiny_image(settings.repositories("Iris Clf (EU)")[1], "Iris Clf (EU)", "1", "models:/m-1")
    (config / "config.json").write_text("{}")
    with pytest.raises(RegistryError):
        repository_of(settings, "Iris Clf (EU)")


def test_an_image_with_copied_labels_that_was_pushed_before_ours_is_not_used(
    registry: Registry, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(registry.host, registry)
    name, work = new_name(registry.host), Workspace(tmp_path / "work")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    push_tiny_image(name, "iris", "1", "models:/m-1")
    planted = registry.tags(name)
    write_plan(work, name, "1")
    with tiny_image("iris", "1", "models:/m-1") as tested:
        work.write_image_id(tested)
        push(ImageSettings(docker_config=config), work)
        assert not work.has_pushed()
        assert not (tmp_path / "outputs").exists()
        assert registry.tags(name) == planted
    # The registry has the tested image: pushed by this run, then found by it.
    write_plan(work, name, "2")
    with tiny_image("iris", "2", "models:/m-2") as tested:
        work.write_image_id(tested)
        for _ in range(2):
            push(ImageSettings(docker_config=config), work)
            assert work.digest() == registry.tags(name)["2"]


def test_an_image_with_copied_labels_that_is_pushed_over_ours_is_not_written_into_mlflow(
    registry: Registry, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(registry.host, registry)
    settings = new_settings(registry, config, model="iris", version="1")
    (name,) = settings.repositories("iris")
    push_tiny_image(name, "iris", "1", "models:/m-1")
    ours = registry.tags(name)["1"]
    push_tiny_image(name, "iris", "1", "models:/m-1")
    assert registry.tags(name)["1"] != ours
    mlflow = MemoryMlflow(version("1"))
    monkeypatch.setattr(ImageSettings, "mlflow", lambda _: mlflow)
    work = Workspace(tmp_path)
    for digest in (ours, ""):
        write_plan(work, name, "1", digest)
        promote(settings, work)
    assert mlflow.written == []
    write_plan(work, name, "1", registry.tags(name)["1"])
    promote(settings, work)
    assert ("image.uri", f"{name}@{registry.tags(name)['1']}") in mlflow.written


def test_ten_aliases_moved_in_a_burst_by_runs_that_overlap_end_where_mlflow_has_them(
    registry: Registry, config: Path
) -> None:
    sign_in(registry.host, registry)
    name = new_name(registry.host)
    for number in "123":
        push_tiny_image(name, "iris", number, f"models:/m-{number}")
    versions = registry.tags(name)
    aliases = [f"alias-{number}" for number in range(10)]
    mlflow = Moving(aliases)

    def run(number: int) -> list[HeldAlias]:
        mlflow.move(aliases[number], str(1 + number % 3))
        promotion = Promotion(mlflow, Repository(name, config), "iris")
        promotion.set_alias_tags()
        return promotion.held

    with ThreadPoolExecutor(5) as pool:
        remarks = [remark for result in pool.map(run, range(10)) for remark in result]
    assert remarks == []
    aliased = {alias: versions[number] for alias, number in mlflow.by_alias.items()}
    assert registry.tags(name) == {**versions, **aliased}
    assert json.dumps(sorted(mlflow.by_alias)) == json.dumps(aliases)


class Moving(MemoryMlflow):
    """MLflow with three versions, whose aliases all begin at the first; safe for runs at once."""

    def __init__(self, aliases: list[str]) -> None:
        super().__init__(*(version(number) for number in "123"))
        self.by_alias = dict.fromkeys(aliases, "1")
        self._lock = threading.Lock()

    def move(self, alias: str, number: str) -> None:
        with self._lock:
            self.by_alias[alias] = number

    def aliases(self, name: str) -> dict[str, str]:
        with self._lock:
            return dict(self.by_alias)


def test_two_runs_that_built_one_version_side_by_side_end_well_and_mlflow_has_the_image_of_the_first(
    registry: Registry, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(registry.host, registry)
    settings = new_settings(registry, config, model="iris", version="1")
    (name,) = settings.repositories("iris")
    mlflow = MemoryMlflow(version("1"))
    mlflow.by_alias = {"champion": "1"}
    monkeypatch.setattr(ImageSettings, "mlflow", lambda _: mlflow)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    works = [Workspace(tmp_path / run) for run in ("first", "second")]
    for work in works:
        write_plan(work, name, "1")
        with tiny_image("iris", "1", "models:/m-1") as tested:
            work.write_image_id(tested)
            push(settings, work)
    assert [work.has_pushed() for work in works] == [True, False]
    for work in works:
        promote(settings, work)
    assert registry.tags(name) == dict.fromkeys(["1", "champion"], works[0].digest())
    assert [value for key, value in mlflow.written if key == "image.uri"] == [f"{name}@{works[0].digest()}"]
