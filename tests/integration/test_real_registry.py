"""The registry steps against a real registry that demands a login, with a real engine and skopeo."""

import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from bridge.demo.registry import Registry
from bridge.demo.stage import missing_for_images
from bridge.image.errors import RegistryError
from bridge.image.identity import MODEL
from bridge.image.promote import Promotion
from bridge.image.push import held_already, push_tested
from bridge.image.registry import Repository
from bridge.image.workspace import Plan
from tests.labelled import labelled, put
from tests.relay import relay
from tests.unit.image.memory import MemoryMlflow, version
from tests.unit.image.test_sbom import PLAN

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


def new_name(host: str) -> str:
    return f"{host}/demo/iris-{uuid4().hex[:8]}"


def test_the_right_password_reads_and_a_wrong_or_missing_one_is_told_with_its_mend(
    registry: Registry, config: Path
) -> None:
    name = new_name(registry.host)
    sign_in(registry.host, registry)
    put(name, "iris", "1", "models:/m-1")
    found = Repository(name, config).look("1")
    assert found
    assert found.labels[MODEL] == "iris"
    (config / "config.json").write_text("{}")
    with pytest.raises(RegistryError, match="check the registry's user and password"):
        Repository(name, config).look("1")
    with pytest.raises(subprocess.CalledProcessError):
        sign_in(registry.host, registry, "wrong")
    with pytest.raises(RegistryError, match="check the registry's user and password"):
        Repository(name, config).tag(found.digest, "champion")
    assert registry.tags(name) == {"1": found.digest}


def test_a_registry_that_fails_in_the_middle_of_a_push_leaves_no_tag_and_the_next_push_all(
    registry: Registry, config: Path
) -> None:
    with relay(registry.host) as way, labelled("iris", "1", "models:/m-1", size=1_000_000) as tested:
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


def test_a_version_that_is_there_is_not_pushed_again(registry: Registry, config: Path) -> None:
    sign_in(registry.host, registry)
    name = new_name(registry.host)
    put(name, "iris", "1", "models:/m-1")
    before = registry.tags(name)
    assert held_already(Repository(name, config), plan(name), force=False) == before["1"]
    assert registry.tags(name) == before


def test_ten_aliases_moved_in_a_burst_by_runs_that_overlap_end_where_mlflow_has_them(
    registry: Registry, config: Path
) -> None:
    sign_in(registry.host, registry)
    name = new_name(registry.host)
    for number in "123":
        put(name, "iris", number, f"models:/m-{number}")
    held = registry.tags(name)
    aliases = [f"alias-{number}" for number in range(10)]
    mlflow = Moving(aliases)

    def run(number: int) -> list[str]:
        mlflow.move(aliases[number], str(1 + number % 3))
        return Promotion(mlflow, Repository(name, config), "iris").settle().remarks

    with ThreadPoolExecutor(5) as pool:
        remarks = [remark for each in [pool.submit(run, number) for number in range(10)] for remark in each.result()]
    assert remarks == []
    wanted = {alias: held[number] for alias, number in mlflow.by_alias.items()}
    assert registry.tags(name) == {**held, **wanted}
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
