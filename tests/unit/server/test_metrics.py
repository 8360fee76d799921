"""The metrics of one application, and what `GET /metrics` answers."""

import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import respx
from prometheus_client.parser import text_string_to_metric_families

from bridge.core.routing import Route
from bridge.github.client import Quota
from bridge.ledger import DispatchState, Figures, Ledger, LedgerUnavailable
from bridge.ledger import queries as ledger_queries
from bridge.server.metrics import Metrics
from tests.unit.server.conftest import Bridge
from tests.unit.server.test_webhook import CREATED
from tests.waiting import until

NOTHING = Figures({}, None, {})
ROUTES = (Route("all", "owner/models", "t"), Route("fraud", "owner/fraud", "t"))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(ROUTES)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return the value of a sample; None where there is no such sample."""
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if sample.name == f"mlflow_bridge_{name}" and sample.labels == labels:
                return sample.value
    return None


def test_deliveries_are_counted_by_outcome_and_error(metrics: Metrics) -> None:
    metrics.delivery("submitted")
    metrics.delivery("submitted")
    metrics.delivery("refused", "SignatureMismatch")
    assert value(metrics, "deliveries_total", outcome="submitted", error="") == 2
    assert value(metrics, "deliveries_total", outcome="refused", error="SignatureMismatch") == 1


def test_seconds_to_dispatch_and_to_the_runs_end_fall_into_buckets(metrics: Metrics) -> None:
    metrics.dispatched(1.5)
    metrics.run_ended("succeeded", 100)
    metrics.dispatched(-7)  # the clock was set back
    metrics.run_ended("failed", -3)
    assert value(metrics, "delivery_to_dispatch_seconds_bucket", le="1.0") == 1
    assert value(metrics, "delivery_to_dispatch_seconds_bucket", le="2.0") == 2
    assert value(metrics, "delivery_to_dispatch_seconds_sum") == 1.5
    assert value(metrics, "delivery_to_run_end_seconds_bucket", state="succeeded", le="60.0") == 0
    assert value(metrics, "delivery_to_run_end_seconds_bucket", state="succeeded", le="120.0") == 1
    assert value(metrics, "delivery_to_run_end_seconds_sum", state="failed") == 0


def test_every_state_has_its_number_in_the_ledger(metrics: Metrics) -> None:
    metrics.set_ledger(Figures({DispatchState.PENDING: 3, DispatchState.FAILED: 1}, 12.5, {}))
    assert value(metrics, "dispatches", state="pending") == 3
    assert value(metrics, "dispatches", state="failed") == 1
    assert value(metrics, "dispatches", state="succeeded") == 0
    assert value(metrics, "oldest_pending_seconds") == 12.5
    assert value(metrics, "ledger_up") == 1


def test_without_anything_pending_the_oldest_is_0_seconds_old(metrics: Metrics) -> None:
    metrics.set_ledger(NOTHING)
    assert value(metrics, "oldest_pending_seconds") == 0


def paused(metrics: Metrics) -> set[str]:
    """Return the routes whose dispatches are paused."""
    return {route.name for route in ROUTES if value(metrics, "lane_paused", route=route.name)}


@pytest.mark.parametrize(
    ("lane", "routes"),
    [("github", {"all", "fraud"}), ("owner/fraud", {"fraud"}), ("owner/gone", set())],
)
def test_a_pause_shows_only_its_routes_and_disappears_when_it_ends(
    metrics: Metrics, lane: str, routes: set[str]
) -> None:
    metrics.set_ledger(Figures({}, None, {lane: "GitHub refuses (403 sentinel-words): give the permission"}))
    assert paused(metrics) == routes
    for secret in ("owner/", "sentinel", "GitHub refuses"):
        assert secret.encode() not in metrics.text()
    metrics.set_ledger(NOTHING)
    assert b"mlflow_bridge_lane_paused{" not in metrics.text()


def test_a_ledger_that_cannot_be_read_has_no_figures(metrics: Metrics) -> None:
    metrics.set_ledger(Figures({DispatchState.PENDING: 3}, 12.5, {"github": "x"}))
    metrics.set_ledger(None)
    assert value(metrics, "ledger_up") == 0
    assert math.isnan(value(metrics, "dispatches", state="pending") or 0)
    assert math.isnan(value(metrics, "oldest_pending_seconds") or 0)
    assert b"mlflow_bridge_lane_paused{" not in metrics.text()


def test_githubs_quota_and_the_tokens_expiry_show_once_they_are_known(metrics: Metrics) -> None:
    assert math.isnan(value(metrics, "github_requests_remaining") or 0)
    assert math.isnan(value(metrics, "github_token_expiry_timestamp_seconds") or 0)
    metrics.set_github(Quota(limit=5000, remaining=4990, reset=1_800_000_000.0), 1_900_000_000.0)
    assert value(metrics, "github_requests_remaining") == 4990
    assert value(metrics, "github_requests_limit") == 5000
    assert value(metrics, "github_requests_reset_timestamp_seconds") == 1_800_000_000
    assert value(metrics, "github_token_expiry_timestamp_seconds") == 1_900_000_000


def test_two_applications_share_no_metrics(metrics: Metrics) -> None:
    metrics.delivery("submitted")
    assert value(Metrics(ROUTES), "deliveries_total", outcome="submitted", error="") is None


def test_every_name_of_ours_begins_alike_and_has_a_description(metrics: Metrics) -> None:
    metrics.delivery("submitted")
    families = list(text_string_to_metric_families(metrics.text().decode()))
    assert all(family.documentation for family in families)
    assert {family.name.split("_")[0] for family in families} == {"mlflow", "process"}


def samples(bridge: Bridge) -> dict[str, float]:
    answer = bridge.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def wait_for(bridge: Bridge, name: str, value: float) -> None:
    until(lambda: samples(bridge).get(name) == value, show=lambda: samples(bridge))


def test_deliveries_are_counted_by_their_answer(bridge: Bridge) -> None:
    delivery_id = "8f08b1de-4c1b-4f2e-9c1a-0123456789ab"
    for sent in ({}, {"delivery_id": delivery_id}, {"delivery_id": delivery_id}, {"signature": "v1,x"}):
        bridge.post(CREATED, **sent)
    bridge.post(b"x" * (1024 * 1024 + 1))
    values = samples(bridge)
    assert values['mlflow_bridge_deliveries_total{error="",outcome="submitted"}'] == 2
    assert values['mlflow_bridge_deliveries_total{error="",outcome="duplicate"}'] == 1
    assert values['mlflow_bridge_deliveries_total{error="SignatureMismatch",outcome="refused"}'] == 1
    assert values['mlflow_bridge_deliveries_total{error="BodyTooLarge",outcome="refused"}'] == 1


def test_a_dispatch_is_counted_by_its_state_and_timed_once_github_has_accepted_it(
    bridge: Bridge, github: respx.Route
) -> None:
    github.respond(204, headers={f"x-ratelimit-{name}": "7" for name in ("limit", "remaining", "reset")})
    bridge.post(CREATED)
    wait_for(bridge, 'mlflow_bridge_dispatches{state="sent"}', 1)
    values = samples(bridge)
    assert values['mlflow_bridge_dispatches{state="pending"}'] == 0
    assert values["mlflow_bridge_delivery_to_dispatch_seconds_count"] == 1
    assert values["mlflow_bridge_delivery_to_dispatch_seconds_sum"] >= 0
    assert values["mlflow_bridge_github_requests_remaining"] == 7
    assert values["mlflow_bridge_oldest_pending_seconds"] == 0


def test_a_paused_route_and_its_pending_dispatches_show(bridge: Bridge, github: respx.Route) -> None:
    github.respond(401, json={"message": "Bad credentials"})
    bridge.post(CREATED)
    wait_for(bridge, 'mlflow_bridge_lane_paused{route="environment"}', 1)
    values = samples(bridge)
    assert values['mlflow_bridge_dispatches{state="pending"}'] == 1
    assert values["mlflow_bridge_oldest_pending_seconds"] > 0
    assert values["mlflow_bridge_delivery_to_dispatch_seconds_count"] == 0


def test_metrics_are_answered_without_the_ledger_and_show_that(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(*args: object, **kwargs: object) -> None:
        raise LedgerUnavailable("no")

    for method in ("read", "accept"):
        monkeypatch.setattr(Ledger, method, unavailable)
    assert bridge.post(CREATED).status_code == 503
    values = samples(bridge)
    assert values["mlflow_bridge_ledger_up"] == 0
    assert values['mlflow_bridge_deliveries_total{error="LedgerUnavailable",outcome="unavailable"}'] == 1


def test_requests_at_the_same_time_share_one_query_of_the_ledger(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def slow(*args: object, **kwargs: object) -> Figures:
        nonlocal count
        count += 1
        time.sleep(0.5)
        return Figures({}, None, {})

    monkeypatch.setattr(ledger_queries, "figures", slow)
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(bridge.get, ["/metrics"] * 10))
    assert {answer.status_code for answer in answers} == {200}
    assert count <= 2
    bridge.get("/metrics")
    assert count >= 2
