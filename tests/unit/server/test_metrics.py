import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import respx

from bridge.ledger import Figures, Ledger, LedgerUnavailable
from tests.unit.server.conftest import Bridge
from tests.unit.server.test_webhook import CREATED
from tests.waiting import until


def samples(bridge: Bridge) -> dict[str, float]:
    answer = bridge.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def wait_for(bridge: Bridge, name: str, value: float) -> None:
    until(lambda: samples(bridge).get(name) == value, show=lambda: samples(bridge))


def test_deliveries_are_counted_by_what_they_were_answered(bridge: Bridge) -> None:
    delivery_id = "8f08b1de-4c1b-4f2e-9c1a-0123456789ab"
    for sent in ({}, {"delivery_id": delivery_id}, {"delivery_id": delivery_id}, {"signature": "v1,x"}):
        bridge.post(CREATED, **sent)
    bridge.post(b"x" * (1024 * 1024 + 1))
    found = samples(bridge)
    assert found['mlflow_bridge_deliveries_total{error="",outcome="submitted"}'] == 2
    assert found['mlflow_bridge_deliveries_total{error="",outcome="duplicate"}'] == 1
    assert found['mlflow_bridge_deliveries_total{error="SignatureMismatch",outcome="refused"}'] == 1
    assert found['mlflow_bridge_deliveries_total{error="BodyTooLarge",outcome="refused"}'] == 1


def test_a_dispatch_is_counted_by_its_state_and_timed_once_github_has_taken_it(
    bridge: Bridge, github: respx.Route
) -> None:
    github.respond(204, headers={f"x-ratelimit-{name}": "7" for name in ("limit", "remaining", "reset")})
    bridge.post(CREATED)
    wait_for(bridge, 'mlflow_bridge_dispatches{state="sent"}', 1)
    found = samples(bridge)
    assert found['mlflow_bridge_dispatches{state="pending"}'] == 0
    assert found["mlflow_bridge_delivery_to_dispatch_seconds_count"] == 1
    assert found["mlflow_bridge_delivery_to_dispatch_seconds_sum"] >= 0
    assert found["mlflow_bridge_github_requests_remaining"] == 7
    assert found["mlflow_bridge_oldest_pending_seconds"] == 0


def test_a_paused_route_and_what_waits_on_it_show(bridge: Bridge, github: respx.Route) -> None:
    github.respond(401, json={"message": "Bad credentials"})
    bridge.post(CREATED)
    wait_for(bridge, 'mlflow_bridge_lane_paused{route="environment"}', 1)
    found = samples(bridge)
    assert found['mlflow_bridge_dispatches{state="pending"}'] == 1
    assert found["mlflow_bridge_oldest_pending_seconds"] > 0
    assert found["mlflow_bridge_delivery_to_dispatch_seconds_count"] == 0


def test_metrics_answer_without_the_ledger_and_say_so(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(*args: object, **kwargs: object) -> None:
        raise LedgerUnavailable("no")

    for method in ("figures", "accept"):
        monkeypatch.setattr(Ledger, method, unavailable)
    assert bridge.post(CREATED).status_code == 503
    found = samples(bridge)
    assert found["mlflow_bridge_ledger_up"] == 0
    assert found['mlflow_bridge_deliveries_total{error="LedgerUnavailable",outcome="unavailable"}'] == 1


def test_who_asks_at_the_same_time_shares_one_look_at_the_ledger(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def slow(*args: object, **kwargs: object) -> Figures:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.5)
        return Figures({}, None, {})

    monkeypatch.setattr(Ledger, "figures", slow)
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(bridge.get, ["/metrics"] * 10))
    assert {answer.status_code for answer in answers} == {200}
    assert looks <= 2
    bridge.get("/metrics")
    assert looks >= 2
