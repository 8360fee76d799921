"""What goes wrong around a bridge: disk, database, clocks, senders. It stays up, says so, loses nothing it accepted."""

import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import httpx2
import psycopg
import pytest

from bridge.mlflow.signature import sign
from tests.integration.conftest import SECRET
from tests.integration.deliveries import VALID, post, signed
from tests.integration.test_hostile import LIMIT, memory
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer
from tests.postgres import Postgres
from tests.waiting import PATIENCE, until

HOUR = 3600
FOREVER = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

_OTHER_CLOCK = "import os, time; real = time.time; time.time = lambda: real() + float(os.environ['CLOCK_AHEAD'])"


class Sender:
    """Delivers to one bridge, and knows which deliveries it has answered 202."""

    def __init__(self, bridge: BridgeServer) -> None:
        self.accepted: set[str] = set()
        self._bridge = bridge

    def send(self, delivery_id: str | None = None) -> httpx2.Response:
        """Send a version's delivery once; a new one, or that one again."""
        delivery_id = delivery_id or str(uuid4())
        headers = signed(VALID[0], delivery_id)
        answer = httpx2.post(
            f"{self._bridge.url}/webhook", content=VALID[0], headers=headers, trust_env=False, timeout=30
        )
        if answer.status_code == 202:
            self.accepted.add(delivery_id)
        return answer

    def refused(self) -> httpx2.Response:
        """Send until the bridge can't take any more, and give that answer."""
        for _ in range(200):
            if (answer := self.send()).status_code != 202:
                return answer
        raise AssertionError("all deliveries were taken")

    def is_taken_again(self) -> bool:
        return self.send().status_code == 202


def get(bridge: BridgeServer, path: str) -> httpx2.Response:
    return httpx2.get(f"{bridge.url}{path}", trust_env=False, timeout=30)


def dispatched(github: LoopbackGitHub) -> list[str]:
    """Give the ids of the deliveries that GitHub has got, each as often as it has."""
    return [str(one.client_payload["delivery_id"]) for one in github.dispatches]


def said(bridge: BridgeServer) -> list[str]:
    """Give the reasons that the log names for what it couldn't do."""
    lines = [json.loads(line) for line in bridge.log.read_text().splitlines()]
    return [str(line.get("reason")) for line in lines if line["level"] in ("warning", "error", "critical")]


def is_told_to_come_again(answer: httpx2.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) <= 5


@pytest.fixture
def quick(settings: dict[str, str]) -> dict[str, str]:
    """The environment of a bridge that doesn't wait long before it looks for a run."""
    return settings | {"DISPATCH_SETTLE": "1"}


@pytest.fixture
def bridge(quick: dict[str, str], folder: Path) -> Iterator[BridgeServer]:
    with BridgeServer(quick, folder) as server:
        yield server


@contextmanager
def full_disk(bridge: BridgeServer) -> Iterator[None]:
    """Let no file of the bridge's grow beyond what the ledger's largest one has now."""
    largest = max(file.stat().st_size for file in bridge.folder.glob("mlflow-bridge.db*"))
    resource.prlimit(bridge.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    yield
    resource.prlimit(bridge.pid, resource.RLIMIT_FSIZE, FOREVER)


def test_a_full_disk_is_named_and_what_was_accepted_goes_out_once_there_is_room(
    bridge: BridgeServer, github: LoopbackGitHub
) -> None:
    sender = Sender(bridge)
    assert sender.send().status_code == 202
    with full_disk(bridge):
        assert is_told_to_come_again(sender.refused())
        until(lambda: get(bridge, "/ready").status_code == 503)  # its write is small, and may still have room
        assert get(bridge, "/health").status_code == 200
    assert any("disk" in reason and "DATABASE_URL" in reason for reason in said(bridge))
    until(sender.is_taken_again)
    until(lambda: sender.accepted <= set(dispatched(github)))
    assert sorted(dispatched(github)) == sorted(sender.accepted)
    assert "Traceback" not in bridge.log.read_text()


def test_a_delivery_that_met_a_locked_database_is_taken_and_dispatched_once_when_it_comes_again(
    bridge: BridgeServer, github: LoopbackGitHub
) -> None:
    sender, delivery_id = Sender(bridge), str(uuid4())
    with closing(sqlite3.connect(bridge.folder / "mlflow-bridge.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert is_told_to_come_again(sender.send(delivery_id))
    assert any("locked" in reason for reason in said(bridge))
    assert sender.send(delivery_id).json()["status"] == "submitted"
    until(lambda: dispatched(github) == [delivery_id])
    assert "Traceback" not in bridge.log.read_text()


def test_a_read_only_database_ends_the_start_with_one_line_that_names_it(
    settings: dict[str, str], folder: Path
) -> None:
    with BridgeServer(settings, folder) as bridge:
        assert post(bridge.url, VALID[0]).status_code == 202
    for file in folder.glob("*.db*"):
        file.chmod(0o444)
    # Root may write where nobody may: without that right it is like anybody else.
    powerless = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    ended = subprocess.run(
        [*powerless, sys.executable, "-m", "bridge", "serve"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **settings, "HOST": "127.0.0.1", "PORT": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "readonly" in ended.stderr
    assert "DATABASE_URL" in ended.stderr


def test_a_database_that_becomes_read_only_is_named_and_taken_up_again(
    quick: dict[str, str], folder: Path, github: LoopbackGitHub
) -> None:
    def allow_writing(connection: psycopg.Connection, *, allowed: bool) -> None:
        connection.execute(f"alter system set default_transaction_read_only = {'off' if allowed else 'on'}")
        connection.execute("select pg_reload_conf()")

    with Postgres() as server:
        url = server.database()
        with (
            psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as operator,
            BridgeServer(quick | {"DATABASE_URL": url}, folder) as bridge,
        ):
            sender = Sender(bridge)
            assert sender.send().status_code == 202
            allow_writing(operator, allowed=False)
            assert is_told_to_come_again(sender.refused())
            assert (get(bridge, "/ready").status_code, get(bridge, "/health").status_code) == (503, 200)
            assert any("read-only" in reason and "DATABASE_URL" in reason for reason in said(bridge))
            allow_writing(operator, allowed=True)
            until(sender.is_taken_again)
            until(lambda: sender.accepted <= set(dispatched(github)))
            assert sorted(dispatched(github)) == sorted(sender.accepted)


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill])
def test_a_bridge_outlives_its_postgresql(
    quick: dict[str, str], folder: Path, github: LoopbackGitHub, end: Callable[[Postgres], None]
) -> None:
    with Postgres() as server, BridgeServer(quick | {"DATABASE_URL": server.database()}, folder) as bridge:
        sender = Sender(bridge)
        for _ in range(5):
            assert sender.send().status_code == 202
        end(server)
        assert is_told_to_come_again(sender.send())
        assert (get(bridge, "/ready").status_code, get(bridge, "/health").status_code) == (503, 200)
        assert any("DATABASE_URL" in reason for reason in said(bridge))
        server.start()
        until(sender.is_taken_again)
        until(lambda: sender.accepted <= set(dispatched(github)))
        assert sorted(dispatched(github)) == sorted(sender.accepted)
        assert "Traceback" not in bridge.log.read_text()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_delivery_by_a_clock_an_hour_off_is_refused_with_a_word_on_the_clocks(
    bridge: BridgeServer, hours: int
) -> None:
    delivery_id, then = str(uuid4()), int(time.time()) + hours * HOUR
    headers = {
        "X-MLflow-Delivery-Id": delivery_id,
        "X-MLflow-Timestamp": str(then),
        "X-MLflow-Signature": sign(SECRET, delivery_id, then, VALID[0]),
    }
    answer = httpx2.post(f"{bridge.url}/webhook", content=VALID[0], headers=headers, trust_env=False)
    assert answer.status_code == 400
    assert "synchronize both clocks" in answer.json()["detail"]
    assert any("synchronize both clocks" in reason for reason in said(bridge))


def with_clock(env: Mapping[str, str], folder: Path, ahead: int) -> dict[str, str]:
    """Give the environment of a process whose clock is off by that many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_OTHER_CLOCK)
    return {**env, "PYTHONPATH": str(folder), "CLOCK_AHEAD": str(ahead)}


@pytest.mark.parametrize("ahead", [-HOUR, HOUR])
def test_a_bridge_whose_clock_is_an_hour_off_says_so_and_takes_deliveries_once_it_is_right(
    quick: dict[str, str], folder: Path, github: LoopbackGitHub, ahead: int
) -> None:
    with BridgeServer(with_clock(quick, folder, ahead), folder) as bridge:
        answer = Sender(bridge).send()
        assert answer.status_code == 400
        assert "synchronize both clocks" in answer.json()["detail"]
    with BridgeServer(quick, folder) as bridge:
        assert Sender(bridge).send().status_code == 202
        until(lambda: len(github.dispatches) == 1)


@pytest.mark.parametrize("ahead", [-HOUR, HOUR])
def test_what_was_accepted_by_a_wrong_clock_goes_out_soon_after_it_is_set_right(
    quick: dict[str, str], folder: Path, github: LoopbackGitHub, ahead: int
) -> None:
    nowhere, lenient = {"GITHUB_API_URL": "http://127.0.0.1:9"}, {"MAX_TIMESTAMP_AGE": str(2 * HOUR)}
    with BridgeServer(with_clock(quick | nowhere | lenient, folder, ahead), folder) as bridge:
        sender, delivery_id, then = Sender(bridge), str(uuid4()), int(time.time()) + ahead
        headers = {
            "X-MLflow-Delivery-Id": delivery_id,
            "X-MLflow-Timestamp": str(then),
            "X-MLflow-Signature": sign(SECRET, delivery_id, then, VALID[0]),
        }
        answer = httpx2.post(f"{bridge.url}/webhook", content=VALID[0], headers=headers, trust_env=False)
        assert answer.status_code == 202
        until(lambda: any("can't be reached" in reason for reason in said(bridge)))
    with BridgeServer(quick, folder) as bridge:
        sender = Sender(bridge)
        assert sender.send().status_code == 202
        until(lambda: set(dispatched(github)) == {delivery_id, *sender.accepted})


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_of_10_mb_is_refused_and_is_not_kept_in_memory(bridge: BridgeServer, announced: bool) -> None:
    body, before = b"x" * 10_000_000, memory(bridge)
    for _ in range(5):
        parts = body if announced else (body[at : at + 65_536] for at in range(0, len(body), 65_536))
        try:
            answer = httpx2.post(f"{bridge.url}/webhook", content=parts, headers=signed(body), trust_env=False)
            assert answer.status_code == 413
        except (httpx2.WriteError, httpx2.ReadError):
            continue  # the bridge has hung up on us while we were still sending
    assert any("longer than" in reason for reason in said(bridge))
    assert memory(bridge) - before < 10 * 1024
    assert post(bridge.url, VALID[0]).status_code == 202


CONNECTIONS, SECONDS = 1_000, 6


async def drip(port: int, opened: threading.Event) -> int:
    """Hold the connections for so long, with a byte a second on each; half of them in the head, half in the body.

    Gives how many are still open then.
    """
    heads = (
        b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /webhook HTTP/1.1\r\nContent-Length: 999\r\nHost: x\r\n\r\n",
    )
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    for number, (_, writer) in enumerate(connections):
        writer.write(heads[number % 2])
    opened.set()
    for _ in range(SECONDS):
        for _, writer in connections:
            writer.write(b"x")
        await asyncio.sleep(1)
    still_open = sum(not reader.at_eof() for reader, _ in connections)
    for _, writer in connections:
        writer.close()
    return still_open


@contextmanager
def few_files(count: int) -> Iterator[None]:
    """Let what is started meanwhile open few files, as it is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_delivery_is_taken_beside_1000_connections_that_send_a_byte_a_second(
    quick: dict[str, str], folder: Path, github: LoopbackGitHub
) -> None:
    with few_files(512):
        bridge = BridgeServer(quick, folder).__enter__()
    opened, held = threading.Event(), list[int]()
    slow = threading.Thread(target=lambda: held.append(asyncio.run(drip(int(bridge.url.rpartition(":")[2]), opened))))
    try:
        slow.start()
        assert opened.wait(PATIENCE)
        sender, took = Sender(bridge), list[float]()
        while slow.is_alive():
            began = time.monotonic()
            assert sender.send().status_code == 202
            took.append(time.monotonic() - began)
            time.sleep(0.1)
        print(f"{len(took)} deliveries, the slowest in {max(took) * 1000:.0f} ms, {memory(bridge)} KiB")
        assert held == [CONNECTIONS]
        assert max(took) < 10
        until(lambda: sender.accepted == set(dispatched(github)))
        assert memory(bridge) < 2 * LIMIT
    finally:
        slow.join()
        bridge.stop()
