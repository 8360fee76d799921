import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.core.routing import Route
from bridge.github.client import Quota
from bridge.ledger import DispatchState, Figures
from bridge.server.figures import Metrics

NOTHING = Figures({}, None, {})
ROUTES = (Route("all", "owner/models", "t"), Route("fraud", "owner/fraud", "t"))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(ROUTES)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Give what a sample says; None where there is no such sample."""
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
    metrics.tell(Figures({DispatchState.PENDING: 3, DispatchState.FAILED: 1}, 12.5, {}))
    assert value(metrics, "dispatches", state="pending") == 3
    assert value(metrics, "dispatches", state="failed") == 1
    assert value(metrics, "dispatches", state="succeeded") == 0
    assert value(metrics, "oldest_pending_seconds") == 12.5
    assert value(metrics, "ledger_up") == 1


def test_without_anything_pending_the_oldest_is_0_seconds_old(metrics: Metrics) -> None:
    metrics.tell(NOTHING)
    assert value(metrics, "oldest_pending_seconds") == 0


def paused(metrics: Metrics) -> set[str]:
    """Give the routes by which nothing goes out."""
    return {route.name for route in ROUTES if value(metrics, "lane_paused", route=route.name)}


@pytest.mark.parametrize(
    ("lane", "routes"),
    [("github", {"all", "fraud"}), ("owner/fraud", {"fraud"}), ("owner/gone", set())],
)
def test_a_pause_shows_by_its_routes_alone_and_goes_when_it_is_over(
    metrics: Metrics, lane: str, routes: set[str]
) -> None:
    metrics.tell(Figures({}, None, {lane: "GitHub refuses (403 sentinel-words): give the permission"}))
    assert paused(metrics) == routes
    for secret in ("owner/", "sentinel", "GitHub refuses"):
        assert secret.encode() not in metrics.text()
    metrics.tell(NOTHING)
    assert b"mlflow_bridge_lane_paused{" not in metrics.text()


def test_nothing_is_claimed_of_a_ledger_that_cannot_be_read(metrics: Metrics) -> None:
    metrics.tell(Figures({DispatchState.PENDING: 3}, 12.5, {"github": "x"}))
    metrics.tell(None)
    assert value(metrics, "ledger_up") == 0
    assert math.isnan(value(metrics, "dispatches", state="pending") or 0)
    assert math.isnan(value(metrics, "oldest_pending_seconds") or 0)
    assert b"mlflow_bridge_lane_paused{" not in metrics.text()


def test_githubs_quota_and_the_tokens_end_are_told_once_they_are_known(metrics: Metrics) -> None:
    assert math.isnan(value(metrics, "github_requests_remaining") or 0)
    assert math.isnan(value(metrics, "github_token_expiry_timestamp_seconds") or 0)
    metrics.github(Quota(limit=5000, remaining=4990, reset=1_800_000_000.0), 1_900_000_000.0)
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
