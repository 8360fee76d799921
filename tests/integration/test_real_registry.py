"""The registry steps against a real registry that demands a login, with a real engine and skopeo."""

import io
import json
import os
import re
import socket
import socketserver
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from bridge.demo.processes import free_port
from bridge.demo.registry import Registry
from bridge.demo.stage import missing_for_images
from bridge.image.errors import RegistryError
from bridge.image.identity import MODEL, RECIPE, RECIPE_LABEL, SOURCE, VERSION
from bridge.image.promote import Promotion
from bridge.image.push import held_already, push_tested
from bridge.image.registry import Repository
from bridge.image.workspace import Plan
from tests.unit.image.memory import MemoryMlflow, version
from tests.unit.image.test_sbom import PLAN

pytestmark = pytest.mark.skipif(missing_for_images() is not None, reason=str(missing_for_images()))


class Flaky(socketserver.ThreadingTCPServer):
    """A way to the registry that, while it is `failing`, lets layers pass and cuts off whoever brings a manifest."""

    allow_reuse_address = daemon_threads = True
    failing = False
    cut = 0

    def __init__(self, port: int, behind: int) -> None:
        super().__init__(("127.0.0.1", port), Relay)
        self.host = f"127.0.0.1:{port}"
        self.behind = behind


class Relay(socketserver.BaseRequestHandler):
    server: Flaky

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.behind)) as upstream:
            back = threading.Thread(target=pour, args=(upstream, self.request), daemon=True)
            back.start()
            pour(self.request, upstream, self._refused)
            upstream.shutdown(socket.SHUT_RDWR)
            back.join(5)

    def _refused(self, data: bytes) -> bool:
        refused = self.server.failing and re.match(rb"PUT /v2/\S+/manifests/", data) is not None
        self.server.cut += refused
        return refused


def pour(source: socket.socket, sink: socket.socket, refused: Callable[[bytes], bool] = lambda _: False) -> None:
    """Hand on what comes, until it ends or is refused."""
    with suppress(OSError):
        while (data := source.recv(1 << 16)) and not refused(data):
            sink.sendall(data)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def flaky(registry: Registry) -> Iterator[Flaky]:
    with Flaky(free_port(), int(registry.host.rpartition(":")[2])) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


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


def put(registry: Registry, name: str, *numbers: str) -> None:
    """Push a tiny image for each version, past the steps that are tested here."""
    for number in numbers:
        engine_image = image(number)
        try:
            subprocess.run(["docker", "tag", engine_image, f"{name}:{number}"], check=True)
            subprocess.run(["docker", "push", "--quiet", f"{name}:{number}"], check=True, capture_output=True)
        finally:
            subprocess.run(["docker", "image", "rm", "--force", engine_image], check=False, capture_output=True)


def image(number: str, size: int = 1000) -> str:
    """Make an image of random bytes that is labelled as that version's; give its id."""
    said = io.BytesIO()
    with tarfile.open(fileobj=said, mode="w") as archive:
        member = tarfile.TarInfo("weights")
        member.size = size
        archive.addfile(member, io.BytesIO(os.urandom(size)))
    labels = {MODEL: "iris", VERSION: number, SOURCE: f"models:/m-{number}", RECIPE_LABEL: RECIPE}
    changes = [part for key, value in labels.items() for part in ("--change", f"LABEL {key}={value}")]
    done = subprocess.run(["docker", "import", *changes, "-"], input=said.getvalue(), capture_output=True, check=True)
    return done.stdout.decode().strip()


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
    put(registry, name, "1")
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
    registry: Registry, flaky: Flaky, config: Path
) -> None:
    sign_in(flaky.host, registry)
    name = new_name(flaky.host)
    tested = image("1", size=1_000_000)
    try:
        flaky.failing = True
        with pytest.raises(RegistryError, match="the push failed"):
            push_tested(Repository(name, config), plan(name), tested)
        assert flaky.cut
        assert registry.tags(f"{registry.host}/{name.partition('/')[2]}") == {}
        flaky.failing = False
        digest = push_tested(Repository(name, config), plan(name), tested)
    finally:
        subprocess.run(["docker", "image", "rm", "--force", tested], check=False, capture_output=True)
    assert registry.tags(f"{registry.host}/{name.partition('/')[2]}") == {"1": digest}


def test_a_version_that_is_there_is_not_pushed_again(registry: Registry, config: Path) -> None:
    sign_in(registry.host, registry)
    name = new_name(registry.host)
    put(registry, name, "1")
    before = registry.tags(name)
    assert held_already(Repository(name, config), plan(name), force=False) == before["1"]
    assert registry.tags(name) == before


def test_ten_aliases_moved_in_a_burst_by_runs_that_overlap_end_where_mlflow_has_them(
    registry: Registry, config: Path
) -> None:
    sign_in(registry.host, registry)
    name = new_name(registry.host)
    put(registry, name, "1", "2", "3")
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
