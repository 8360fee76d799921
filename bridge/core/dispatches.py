"""States of a dispatch, the meaning of its workflow run, and the decision after a request for it.

Source: GitHub's REST API, "List workflow runs for a repository", and its GraphQL enums `CheckStatusState` and
`CheckConclusionState`, which define the words. Times are Unix seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator

from bridge.core.text import Text


class DispatchState(StrEnum):
    """The progress of a dispatch from the ledger to the end of its run."""

    PENDING = "pending"
    SENT = "sent"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    UNSEEN = "unseen"
    WITHDRAWN = "withdrawn"


RunId = Annotated[int, Field(ge=0, lt=2**63)]
"""The ledger stores it in 64 bits."""

_YEARS: Final = range(1970, 9999)
"""Years that every platform converts to Unix seconds and back, in any time zone."""


def _time(value: object, read: ValidatorFunctionWrapHandler) -> datetime | None:
    """Return the time, or None if it is invalid: the run is followed without it."""
    try:
        moment: datetime = read(value)
    except ValueError:
        return None
    return moment if moment.year in _YEARS else None


class Run(BaseModel):
    """The parts of a workflow run that are used here; `status` and `conclusion` are GitHub's words."""

    model_config = ConfigDict(frozen=True)

    id: RunId
    html_url: Text
    display_title: Text = ""
    status: Text = "queued"
    conclusion: Text | None = None
    run_started_at: Annotated[AwareDatetime, WrapValidator(_time)] | None = None


@dataclass(frozen=True)
class OpenDispatch:
    """A dispatch that was sent and whose run is followed: it has not ended, or a re-run may change its result."""

    id: str
    repository: str
    event_type: str
    state: DispatchState
    run_id: int | None
    run_url: str | None
    sent_at: float
    model: str
    version: str
    alias: str | None
    created_at: float
    delivery_id: str


@dataclass(frozen=True)
class RunObservation:
    """The state of a dispatch's run; `at` is when GitHub was asked, not when it answered.

    `started_at` is when the run started, by GitHub's clock.
    """

    state: DispatchState
    run_id: int | None
    run_url: str | None
    reason: str | None
    at: float
    started_at: float | None = None


UNSEEN_AFTER: Final = 600.0
"""Seconds. GitHub shows a run within a minute; one that is missing after ten minutes will not appear."""

AWAITING_RUN: Final = frozenset({DispatchState.SENT, DispatchState.RUNNING})
"""States of a dispatch at GitHub, whose run's end is still to come."""

UNFINISHED: Final = AWAITING_RUN | {DispatchState.PENDING}
"""States of a dispatch whose end is still to come, whether it has been sent or not."""

CONCLUSIONS: Final[dict[str, tuple[DispatchState, str | None]]] = {
    "success": (DispatchState.SUCCEEDED, None),
    "neutral": (DispatchState.SUCCEEDED, None),
    "failure": (DispatchState.FAILED, "the run failed: see the failed step on the run's page"),
    "timed_out": (DispatchState.FAILED, "the run exceeded the workflow's time limit: check its last step"),
    "startup_failure": (
        DispatchState.FAILED,
        "GitHub could not start the workflow: fix the workflow file named on the run's page",
    ),
    "action_required": (DispatchState.FAILED, "the run is waiting for approval: approve it on the run's page"),
    "stale": (
        DispatchState.FAILED,
        "GitHub marked the run as stale after two weeks: check that a runner picks up its jobs, then re-run it",
    ),
    "cancelled": (DispatchState.CANCELLED, "the run was cancelled: re-run it if the version still needs an image"),
    "skipped": (DispatchState.CANCELLED, "the run skipped all of its jobs: check each `if` in the workflow"),
}
"""GitHub's conclusions: the state of the dispatch, and the reason that is recorded for it."""


def by_dispatch(runs: Iterable[Run], dispatches: Iterable[OpenDispatch]) -> dict[str, Run]:
    """Return the run of each dispatch that has one, by dispatch id: the newest whose title begins with that id.

    A dispatch whose answer was lost may have been sent twice; the second run then counts.
    """
    ids = {dispatch.id for dispatch in dispatches}
    by_id: dict[str, Run] = {}
    for length in {len(dispatch_id) for dispatch_id in ids}:
        by_prefix = {run.display_title[:length]: run for run in sorted(runs, key=lambda run: run.id)}
        by_id |= {prefix: run for prefix, run in by_prefix.items() if prefix in ids}
    return by_id


def decide(
    dispatch: OpenDispatch, run: Run | None, *, at: float, unseen_after: float = UNSEEN_AFTER
) -> RunObservation | None:
    """Return the new state of the dispatch, or None if nothing has changed.

    `run` is None if the dispatch has no run among all runs since it was sent; `at` is when GitHub was asked.
    """
    if run is None:
        return _without_run(dispatch, at, unseen_after)
    state, reason = meaning(run)
    if (state, run.id) == (dispatch.state, dispatch.run_id):
        return None
    started = run.run_started_at.timestamp() if run.run_started_at else None
    return RunObservation(state, run.id, run.html_url, reason, at, started)


def meaning(run: Run) -> tuple[DispatchState, str | None]:
    """Return the state of a dispatch with this run, and the reason for it.

    A run has ended if its status is `completed`. Any other status (`queued`, `pending`, `waiting`, `requested`,
    `in_progress`, or one that GitHub adds) means that it is running. A conclusion that GitHub adds is a failure.
    """
    if run.status != "completed" or not run.conclusion:
        return DispatchState.RUNNING, None
    unknown = (
        DispatchState.FAILED,
        f"the run has an unknown conclusion, {run.conclusion[:50]!r}: see the run's page",
    )
    return CONCLUSIONS.get(run.conclusion, unknown)


def _without_run(dispatch: OpenDispatch, at: float, unseen_after: float) -> RunObservation | None:
    if dispatch.state not in AWAITING_RUN or at < dispatch.sent_at + unseen_after:
        return None
    if dispatch.run_id is not None:
        reason = "the run was deleted before it finished: replay the delivery if the version still needs an image"
        return RunObservation(DispatchState.CANCELLED, dispatch.run_id, dispatch.run_url, reason, at)
    reason = (
        f"no run appeared in {dispatch.repository} within {unseen_after / 60:.0f} min: check that GitHub Actions "
        f"is enabled, that a workflow on the default branch is enabled and listens for the event type "
        f"{dispatch.event_type!r}, that its run-name begins with the dispatch id, and that the token or App has "
        "actions=read"
    )
    return RunObservation(DispatchState.UNSEEN, None, None, reason, at)


ACCESS_DELAY: Final = 60.0
"""Seconds that a lane pauses before it checks whether a refused credential works again."""


@dataclass(frozen=True)
class Sent:
    """GitHub accepted it. `run_id` and `run_url` are set if its answer names the run."""

    run_id: int | None = None
    run_url: str | None = None


@dataclass(frozen=True)
class Reject:
    """GitHub will never accept it."""

    reason: str


@dataclass(frozen=True)
class Retry:
    """Send it again at `at`."""

    at: float
    reason: str


@dataclass(frozen=True)
class VerifyThenRetry:
    """It may have been sent: at `at`, look for its run before sending it again."""

    at: float
    reason: str


@dataclass(frozen=True)
class Pause:
    """Nothing is sent on this lane before `until`; the dispatch itself is not the cause.

    `verify_first`: an earlier request may have sent the dispatch. `repository_only`: only this repository is affected.
    """

    until: float
    reason: str
    verify_first: bool = False
    repository_only: bool = False


Decision = Sent | Reject | Retry | VerifyThenRetry | Pause
