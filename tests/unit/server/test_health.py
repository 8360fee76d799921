from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
import respx
from anyio.from_thread import start_blocking_portal
from pydantic import SecretStr

from bridge.ledger import LedgerUnavailable, bookmarks, lanes
from bridge.server import probe
from bridge.workers.dispatcher import Dispatcher
from tests.unit.server.conftest import Bridge, opened, settings
from tests.unit.server.test_webhook import CREATED
from tests.waiting import until

AUTH = ("admin", "sentinel-password")


@pytest.fixture
def bridge(tmp_path: Path, github: respx.Route) -> Iterator[Bridge]:
    """A bridge with an administrator."""
    chosen = settings(tmp_path / "ledger.db").model_copy(update={"admin_password": SecretStr(AUTH[1])})
    with start_blocking_portal() as portal, opened(portal, chosen, tmp_path / "ledger.db") as bridge:
        yield bridge


def ready(bridge: Bridge, auth: tuple[str, str] | None = None) -> tuple[int, list[str]]:
    """Return the status and the reasons."""
    answer: httpx2.Response = bridge.get("/ready", **({"auth": auth} if auth else {}))
    assert set(answer.json()) == {"degraded"}
    return answer.status_code, answer.json()["degraded"]


def until_degraded(bridge: Bridge) -> None:
    until(lambda: ready(bridge)[1])


def test_health_answers_that_the_process_is_alive(bridge: Bridge) -> None:
    answer = bridge.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


def test_a_bridge_without_problems_is_ready_and_not_degraded(bridge: Bridge) -> None:
    assert ready(bridge) == ready(bridge, AUTH) == (200, [])


@pytest.mark.parametrize(("status", "kind"), [(401, "github-paused"), (404, "repository-paused")])
def test_the_administrator_sees_what_github_rejects_and_anybody_else_its_kind(
    bridge: Bridge, github: respx.Route, status: int, kind: str
) -> None:
    github.respond(status, json={"message": "sentinel-words"})
    bridge.post(CREATED)
    until_degraded(bridge)
    assert ready(bridge) == (200, [kind])
    code, (reason,) = ready(bridge, AUTH)
    assert code == 200
    assert f"{status} sentinel-words" in reason
    assert ("owner/models" in reason) == (status == 404)


def test_the_administrator_sees_runs_that_cannot_be_followed_and_anybody_else_their_kind(bridge: Bridge) -> None:
    bridge.state.follower.problems |= {"owner/models": "sentinel-1", "owner/others": "sentinel-2"}
    assert ready(bridge) == (200, ["runs-not-visible"])
    assert ready(bridge, AUTH) == (200, ["sentinel-1", "sentinel-2"])


def test_the_administrator_sees_every_loop_that_has_stopped(bridge: Bridge) -> None:
    for loop in bridge.state.loops:
        bridge.stop(loop)
    assert ready(bridge) == (200, ["loop-stopped"])
    _, reasons = ready(bridge, AUTH)
    assert ["dispatcher" in reasons[0], "follower" in reasons[1], len(reasons)] == [True, True, 2]


class Writes:
    """Counts the ledger's probe writes, each of which fails as long as there is a `problem`."""

    def __init__(self) -> None:
        self.count = 0
        self.problem: LedgerUnavailable | None = None

    def write(self, *_: object) -> None:
        self.count += 1
        if self.problem:
            raise self.problem


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    writes = Writes()
    monkeypatch.setattr(bookmarks, "write_bookmark", writes.write)
    return writes


def test_a_ledger_that_cannot_be_used_is_not_ready_and_its_details_are_the_administrators(
    bridge: Bridge, writes: Writes
) -> None:
    writes.problem = LedgerUnavailable("sentinel of a database")
    assert ready(bridge) == (503, ["ledger-unavailable"])
    assert ready(bridge, AUTH) == (503, ["sentinel of a database"])


def test_a_ledger_that_cannot_be_read_is_not_ready(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LedgerUnavailable("sentinel of a database")

    monkeypatch.setattr(lanes, "pause_reasons", fail)
    assert ready(bridge) == (503, ["ledger-unavailable"])


def test_a_loop_whose_steps_fail_in_a_row_is_degraded(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dispatcher, "failing", True)
    assert ready(bridge) == (200, ["loop-failing"])


@pytest.mark.parametrize("problem", [None, LedgerUnavailable("x")])
def test_however_many_ask_the_ledger_is_written_once_in_ten_seconds(
    bridge: Bridge, writes: Writes, problem: LedgerUnavailable | None
) -> None:
    writes.problem = problem
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(bridge.get, ["/ready"] * 50))
    assert {answer.status_code for answer in answers} == {503 if problem else 200}
    assert writes.count == 1


def test_a_ledger_that_can_be_written_again_is_ready_after_the_next_probe(
    bridge: Bridge, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "INTERVAL", 0.0)
    writes.problem = LedgerUnavailable("x")
    assert ready(bridge)[0] == 503
    writes.problem = None
    assert ready(bridge)[0] == 200


def test_without_a_password_nobody_gets_more_than_the_kind(tmp_path: Path, github: respx.Route) -> None:
    with start_blocking_portal() as portal, opened(portal, settings(tmp_path / "l.db"), tmp_path / "l.db") as bridge:
        bridge.state.follower.problems["owner/models"] = "sentinel"
        assert ready(bridge, ("admin", "")) == (200, ["runs-not-visible"])
