import time

import pytest
import respx

from bridge.ledger import Ledger, LedgerUnavailable
from tests.unit.web.conftest import Bridge
from tests.unit.web.test_webhook import CREATED


def test_health_says_that_the_process_lives(bridge: Bridge) -> None:
    answer = bridge.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


def test_a_bridge_without_trouble_is_ready_and_not_degraded(bridge: Bridge) -> None:
    answer = bridge.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"degraded": []})


def test_a_paused_lane_is_ready_but_degraded_with_its_reason(bridge: Bridge, github: respx.Route) -> None:
    github.respond(401, json={"message": "Bad credentials"})
    bridge.post(CREATED)
    until = time.monotonic() + 5
    while not bridge.get("/ready").json()["degraded"] and time.monotonic() < until:
        time.sleep(0.02)
    answer = bridge.get("/ready")
    assert answer.status_code == 200
    assert answer.json()["degraded"] == [
        "nothing goes to GitHub: GitHub refuses (401 Bad credentials): "
        "renew GITHUB_TOKEN, or check GITHUB_APP_ID and its key"
    ]


def test_a_repository_that_refuses_is_degraded_by_its_name(bridge: Bridge, github: respx.Route) -> None:
    github.respond(404, json={"message": "Not Found"})
    bridge.post(CREATED)
    until = time.monotonic() + 5
    while not bridge.get("/ready").json()["degraded"] and time.monotonic() < until:
        time.sleep(0.02)
    assert bridge.get("/ready").json()["degraded"] == [
        "nothing goes to owner/models: GitHub refuses (404 Not Found): "
        "check that the repository exists and that the token or App reaches it with contents=write; "
        "of a route with a workflow, that its file is there, with actions=write"
    ]


def test_a_dispatcher_that_has_stopped_is_degraded(bridge: Bridge) -> None:
    bridge.stop(bridge.state.dispatcher)
    assert bridge.get("/ready").json() == {"degraded": ["the dispatcher has stopped: restart the bridge"]}


def test_runs_that_cannot_be_followed_are_degraded_with_the_mend(bridge: Bridge) -> None:
    bridge.state.follower.problems["owner/models"] = "the runs of owner/models can't be seen: give actions=read"
    answer = bridge.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {"degraded": ["the runs of owner/models can't be seen: give actions=read"]}


def test_every_loop_that_has_stopped_is_degraded(bridge: Bridge) -> None:
    for loop in bridge.state.loops:
        bridge.stop(loop)
    assert bridge.get("/ready").json()["degraded"] == [
        "the dispatcher has stopped: restart the bridge",
        "the follower has stopped: restart the bridge",
    ]


def test_a_ledger_that_cannot_be_used_is_not_ready(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise LedgerUnavailable("the ledger can't be used (x): check the disk")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "write_bookmark", fail)
        answer = bridge.get("/ready")
    assert (answer.status_code, answer.json()) == (503, {"degraded": ["the ledger can't be used (x): check the disk"]})
