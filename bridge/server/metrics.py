"""`GET /metrics`: what Prometheus reads.

Metrics of the ledger are the same from every replica; all others are per process. Anyone may read them, so labels name
only routes, never repositories or models, and never quote GitHub.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bridge import __version__
from bridge.core.routing import Route
from bridge.github.client import Quota
from bridge.ledger import LANE, DispatchState, Figures, LedgerUnavailable, queries
from bridge.server.state import AppState

_TO_DISPATCH: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)
"""Seconds."""

_TO_RUN_END: Final = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 6 * 3600, 24 * 3600)
"""Seconds."""

router = APIRouter()


@router.get("/metrics", response_class=PlainTextResponse)
async def read_metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format; without the ledger's if the ledger can't be read."""
    state, arrived = AppState.of(request), time.monotonic()
    # Requests that arrive meanwhile share one query: counting a million dispatches takes half a second.
    async with state.metrics.reading_ledger:
        if state.metrics.ledger_read_at <= arrived:
            try:
                state.metrics.set_ledger(await state.ledger.read(queries.figures, now=state.ledger.time()))
            except LedgerUnavailable:
                state.metrics.set_ledger(None)
    state.metrics.set_github(state.github.quota, state.github.token_expires_at)
    return Response(state.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class Metrics:
    """The metrics of one application, in a separate registry. Only the event loop may call its methods.

    A reader of the ledger holds `reading_ledger`; `ledger_read_at` is in monotonic seconds.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self.reading_ledger = asyncio.Lock()
        self.ledger_read_at = 0.0
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._gauge("info", "The running release.", "version").labels(__version__).set(1)
        self._deliveries = Counter(
            "mlflow_bridge_deliveries",
            "Deliveries by outcome; `error` is the reason if a delivery was refused.",
            ["outcome", "error"],
            registry=self._registry,
        )
        self._to_dispatch = self._histogram("dispatch", "GitHub accepted its dispatch", _TO_DISPATCH)
        self._to_run_end = self._histogram("run_end", "the end of its run", _TO_RUN_END, "state")
        self._dispatches = self._gauge("dispatches", "Dispatches in the ledger by state.", "state")
        self._oldest = self._gauge("oldest_pending_seconds", "Age of the oldest pending dispatch; 0 if there is none.")
        self._paused = self._gauge("lane_paused", "1 for each route whose dispatches are paused.", "route")
        self._ledger_up = self._gauge("ledger_up", "1 if the ledger can be read, else 0.")
        self._quota = self._gauge("github_requests_remaining", "Requests left in GitHub's rate limit until it resets.")
        self._limit = self._gauge("github_requests_limit", "Requests per hour in GitHub's rate limit.")
        self._reset = self._gauge(
            "github_requests_reset_timestamp_seconds", "Unix time at which GitHub's rate limit resets."
        )
        self._expiry = self._gauge(
            "github_token_expiry_timestamp_seconds", "Unix time at which GITHUB_TOKEN expires, if it does."
        )
        self.set_ledger(None)
        self.set_github(None, None)

    def delivery(self, outcome: str, error: str = "") -> None:
        """Count a delivery that was answered so, or that the reconciler imported."""
        self._deliveries.labels(outcome, error).inc()

    def dispatched(self, seconds: float) -> None:
        """Record a dispatch that GitHub accepted that long after its delivery."""
        self._to_dispatch.observe(max(0.0, seconds))

    def run_ended(self, state: str, seconds: float) -> None:
        """Record a run that ended in that state, that long after its delivery."""
        self._to_run_end.labels(state).observe(max(0.0, seconds))

    def set_ledger(self, figures: Figures | None) -> None:
        """Set all figures of the ledger; None if it could not be read, so that they become NaN."""
        self.ledger_read_at = time.monotonic()
        self._paused.clear()
        for state in DispatchState:
            self._dispatches.labels(state).set(figures.dispatches.get(state, 0) if figures else math.nan)
        self._ledger_up.set(figures is not None)
        self._oldest.set((figures.oldest_pending or 0.0) if figures else math.nan)
        paused = figures.paused if figures else {}
        for route in self._routes:
            if LANE in paused or route.repository in paused:
                self._paused.labels(route.name).set(1)

    def set_github(self, quota: Quota | None, token_expires_at: float | None) -> None:
        """Set what GitHub's last answer contained; None is unknown, or no expiry."""
        self._quota.set(quota.remaining if quota else math.nan)
        self._limit.set(quota.limit if quota else math.nan)
        self._reset.set(quota.reset if quota else math.nan)
        self._expiry.set(math.nan if token_expires_at is None else token_expires_at)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"mlflow_bridge_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, until: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(
            f"mlflow_bridge_delivery_to_{name}_seconds",
            f"Seconds from a delivery until {until}.",
            labels,
            buckets=buckets,
            registry=self._registry,
        )
