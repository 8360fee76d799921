"""What this process tells Prometheus: what it saw itself, and what ledger and GitHub say at the moment of asking.

Figures of the ledger are the same from every replica; the others are each process's own. Anyone may read them, so
labels name only routes, never repositories or models, and never quote GitHub.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bridge import __version__
from bridge.core.routing import Route
from bridge.github.client import Quota
from bridge.ledger import LANE, DispatchState, Figures

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

_TO_DISPATCH: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)
_TO_END: Final = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 6 * 3600, 24 * 3600)
"""Seconds."""


class Metrics:
    """The metrics of one application, in a registry of their own. Its methods are for the one event loop.

    Whoever asks the ledger for figures holds `asking`; `told_at` (monotonic seconds) is when it last answered.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self.asking = asyncio.Lock()
        self.told_at = 0.0
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._gauge("info", "The release that runs.", "version").labels(__version__).set(1)
        self._deliveries = Counter(
            "mlflow_bridge_deliveries",
            "Deliveries by what they were answered; for a refused one `error` says why.",
            ["outcome", "error"],
            registry=self._registry,
        )
        self._to_dispatch = self._histogram("dispatch", "GitHub took its dispatch", _TO_DISPATCH)
        self._to_end = self._histogram("run_end", "the end of its run", _TO_END, "state")
        self._dispatches = self._gauge("dispatches", "Dispatches in the ledger by their state.", "state")
        self._oldest = self._gauge("oldest_pending_seconds", "Age of the oldest dispatch that waits; 0 without one.")
        self._paused = self._gauge("lane_paused", "1 for each route whose dispatches are paused.", "route")
        self._ledger_up = self._gauge("ledger_up", "Whether the ledger could be read for this answer.")
        self._quota = self._gauge("github_requests_remaining", "Requests that GitHub still takes before the reset.")
        self._limit = self._gauge("github_requests_limit", "Requests that GitHub takes an hour.")
        self._reset = self._gauge("github_requests_reset_timestamp_seconds", "When they are counted anew.")
        self._expiry = self._gauge("github_token_expiry_timestamp_seconds", "When GITHUB_TOKEN ends, if it does.")
        self.tell(None)
        self.github(None, None)

    def delivery(self, outcome: str, error: str = "") -> None:
        """Count a delivery that was answered so, or that was found in MLflow."""
        self._deliveries.labels(outcome, error).inc()

    def dispatched(self, seconds: float) -> None:
        """Note a dispatch that GitHub took that long after its delivery."""
        self._to_dispatch.observe(max(0.0, seconds))

    def run_ended(self, state: str, seconds: float) -> None:
        """Note a run that ended in that state, that long after its delivery."""
        self._to_end.labels(state).observe(max(0.0, seconds))

    def tell(self, figures: Figures | None) -> None:
        """Take over what the ledger says; None where it could not be asked, and then nothing is claimed of it."""
        self.told_at = time.monotonic()
        self._paused.clear()
        for state in DispatchState:
            self._dispatches.labels(state).set(figures.dispatches.get(state, 0) if figures else math.nan)
        self._ledger_up.set(figures is not None)
        self._oldest.set((figures.oldest_pending or 0.0) if figures else math.nan)
        paused = figures.paused if figures else {}
        for route in self._routes:
            if LANE in paused or route.repository in paused:
                self._paused.labels(route.name).set(1)

    def github(self, quota: Quota | None, token_expires_at: float | None) -> None:
        """Take over what GitHub's last answer told; None is unknown, or no end."""
        self._quota.set(quota.remaining if quota else math.nan)
        self._limit.set(quota.limit if quota else math.nan)
        self._reset.set(quota.reset if quota else math.nan)
        self._expiry.set(math.nan if token_expires_at is None else token_expires_at)

    def text(self) -> bytes:
        """Give everything in Prometheus' text format, of `CONTENT_TYPE`."""
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
