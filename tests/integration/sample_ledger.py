"""A ledger after a morning's work, for the pictures of the status page.

The ledger's own methods write it, as the workers do, with times in the past.
"""

from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from ulid import ULID

from bridge.core.dispatches import Decision, Reject, Retry, Sent
from bridge.core.events import Event, EventKind
from bridge.image.naming import slug
from bridge.ledger import (
    FOLLOWER,
    LANE,
    Delivery,
    Dispatch,
    DispatchState,
    Ledger,
    RunObservation,
    lanes,
    runs,
    versions,
)
from tests.integration.conftest import REPOSITORY

UNSEEN = (
    "no run appeared in owner/models within 10 min: check that GitHub Actions is enabled, that a workflow on the "
    "default branch is enabled and listens for the event type 'mlflow-model-version', that its run-name begins with "
    "the dispatch id, and that the token or App has actions=read"
)

SECONDS = 1800.0


@dataclass(frozen=True)
class SampleDelivery:
    """A delivery `since` seconds ago and its state; `ran` is the duration of its run in seconds."""

    model: str
    version: str
    since: float
    state: DispatchState
    alias: str | None = None
    ran: float = 95.0
    reason: str | None = None

    @property
    def id(self) -> str:
        return str(uuid5(NAMESPACE_URL, f"{self.model}/{self.version}/{self.alias}"))


SAMPLES = (
    SampleDelivery("prévision (été)", "3", 2.2 * 86_400, DispatchState.SUCCEEDED, ran=210),
    SampleDelivery("fraud/scoring-eu", "17", 26 * 3600, DispatchState.UNSEEN, reason=UNSEEN),
    SampleDelivery("demand-forecast", "102", 7 * 3600, DispatchState.SUCCEEDED, ran=160),
    SampleDelivery(
        "demand-forecast", "103", 5 * 3600, DispatchState.CANCELLED, reason="the run was cancelled: re-run it if needed"
    ),
    SampleDelivery("churn", "8", 3 * 3600, DispatchState.SUCCEEDED),
    SampleDelivery("churn", "8", 2.6 * 3600, DispatchState.SUCCEEDED, alias="champion", ran=24),
    SampleDelivery(
        "Customer Lifetime Value (EU)", "2", 95 * 60, DispatchState.REJECTED, reason="GitHub rejected the dispatch"
    ),
    SampleDelivery(
        "fraud/scoring-eu",
        "18",
        52 * 60,
        DispatchState.FAILED,
        ran=312,
        reason="the run failed: see the failed step on the run's page",
    ),
    SampleDelivery("demand-forecast", "104", 34 * 60, DispatchState.SUCCEEDED, ran=171),
    SampleDelivery("demand-forecast", "104", 33 * 60, DispatchState.SUCCEEDED, alias="challenger", ran=22),
    SampleDelivery("churn", "9", 12 * 60, DispatchState.SUCCEEDED, ran=88),
    SampleDelivery("iris-clf", "42", 6 * 60, DispatchState.SUCCEEDED, ran=131),
    SampleDelivery("churn", "9", 3 * 60, DispatchState.RUNNING, alias="champion"),
    SampleDelivery("search/reranker", "5", 70, DispatchState.RUNNING),
    SampleDelivery("iris-clf", "43", 25, DispatchState.SENT),
    SampleDelivery("demand-forecast", "105", 8, DispatchState.PENDING),
)


async def write(ledger: Ledger, now: float) -> None:
    """Write all samples; a bridge that polls every `SECONDS` changes none of them."""
    await ledger.start()
    for sample in SAMPLES:
        await _write(ledger, sample, now - sample.since)
    assert await ledger.write(lanes.acquire, FOLLOWER, "sample", now=now, seconds=SECONDS)
    await ledger.write(lanes.release, LANE, "sample")


async def _write(ledger: Ledger, sample: SampleDelivery, at: float) -> None:
    kind = EventKind.ALIAS_CREATED if sample.alias else EventKind.VERSION_CREATED
    source = None if sample.alias else "models:/m-1"
    dispatch_id = str(ULID.from_timestamp(at))
    event = Event(kind, sample.model, sample.version, sample.alias, source=source)
    dispatch = Dispatch(dispatch_id, "environment", REPOSITORY, "mlflow-model-version", "{}")
    await ledger.accept(Delivery(sample.id, event, at), [dispatch])
    if sample.state == DispatchState.FAILED:
        await _try(
            ledger, Retry(at + 4, "the request to GitHub failed (502 Bad Gateway): will retry automatically"), at + 0.6
        )
    if sample.state == DispatchState.PENDING:
        busy = "the request to GitHub failed (503 Service Unavailable): will retry automatically"
        await _try(ledger, Retry(at + 290, busy), at + 1)
        return
    if sample.state == DispatchState.REJECTED:
        words = "GitHub rejected the dispatch (422 Workflow does not have 'repository_dispatch' trigger)"
        await _try(ledger, Reject(f"{words}: fix the cause, then replay the delivery"), at + 1.1)
        return
    sent_at = at + (5.1 if sample.state == DispatchState.FAILED else 1.2)
    await _try(ledger, Sent(), sent_at)
    await _follow(ledger, sample, dispatch_id, sent_at)


async def _try(ledger: Ledger, decision: Decision, at: float) -> None:
    assert await ledger.write(lanes.acquire, LANE, "sample", now=at, seconds=5)
    pending = await ledger.read(lanes.next_pending, now=at)
    assert pending
    begun = await ledger.write(lanes.begin_sending, pending, "sample", now=at, settle=120)
    assert begun
    assert await ledger.write(lanes.settle, begun, decision, "sample", now=at, lane_next_at=at)


async def _follow(ledger: Ledger, sample: SampleDelivery, dispatch_id: str, sent_at: float) -> None:
    if sample.state == DispatchState.SENT:
        return
    if sample.state == DispatchState.UNSEEN:
        assert await ledger.write(
            runs.settle_run, dispatch_id, RunObservation(DispatchState.UNSEEN, None, None, sample.reason, sent_at + 600)
        )
        return
    run_id = 14_000_000_000 + int(sent_at) % 10_000_000
    url, began = f"https://github.com/{REPOSITORY}/actions/runs/{run_id}", sent_at + 14
    assert await ledger.write(
        runs.settle_run, dispatch_id, RunObservation(DispatchState.RUNNING, run_id, url, None, began + 1, began)
    )
    if sample.state != DispatchState.RUNNING:
        ended = began + sample.ran
        assert await ledger.write(
            runs.settle_run, dispatch_id, RunObservation(sample.state, run_id, url, sample.reason, ended, began)
        )
    if sample.state in (DispatchState.SUCCEEDED, DispatchState.FAILED):
        await _image(ledger, sample, sent_at)


async def _image(ledger: Ledger, sample: SampleDelivery, now: float) -> None:
    digest = uuid5(NAMESPACE_URL, sample.model + sample.version).hex * 2
    uri = f"ghcr.io/{REPOSITORY}/{slug(sample.model)}:{sample.version}@sha256:{digest}"
    pushed = sample.state == DispatchState.SUCCEEDED
    await ledger.write(
        versions.write_image,
        sample.model,
        sample.version,
        uri if pushed else None,
        "pushed" if pushed else "failed",
        now=now,
    )
