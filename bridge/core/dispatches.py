"""What a workflow run says of the dispatch that caused it: no input or output, and the time is an argument.

Source: GitHub's REST API, "List workflow runs for a repository", and its GraphQL enums `CheckStatusState` and
`CheckConclusionState`, which say what the words mean. Times are Unix seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator

from bridge.core.text import Text


class DispatchState(StrEnum):
    """Where a dispatch is; see "One delivery's way" in the design."""

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
    """Give the time, or None if it is invalid: the run is followed without it."""
    try:
        moment: datetime = read(value)
    except ValueError:
        return None
    return moment if moment.year in _YEARS else None


class Run(BaseModel):
    """A workflow run, as far as we look at it; `status` and `conclusion` are GitHub's words."""

    model_config = ConfigDict(frozen=True)

    id: RunId
    html_url: Text
    display_title: Text = ""
    status: Text = "queued"
    conclusion: Text | None = None
    run_started_at: Annotated[AwareDatetime, WrapValidator(_time)] | None = None


@dataclass(frozen=True)
class OpenDispatch:
    """A dispatch that went out, and whose run is to be looked at: its end isn't known, or may change by a re-run."""

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
    """What a dispatch's run was seen to be; `at` is when GitHub was asked, not when it answered.

    `started_at` is when the run started, by GitHub's clock.
    """

    state: DispatchState
    run_id: int | None
    run_url: str | None
    reason: str | None
    at: float
    started_at: float | None = None


UNSEEN_AFTER: Final = 600.0
"""Seconds. GitHub shows a run within a minute; what isn't there after ten will not come by itself."""

AWAITING_RUN: Final = frozenset({DispatchState.SENT, DispatchState.RUNNING})
"""States of a dispatch at GitHub, whose run's end is still to come."""

UNFINISHED: Final = AWAITING_RUN | {DispatchState.PENDING}
"""States of a dispatch whose end is still to come, whether it has been sent or not."""

ENDS: Final[dict[str, tuple[DispatchState, str | None]]] = {
    "success": (DispatchState.SUCCEEDED, None),
    "neutral": (DispatchState.SUCCEEDED, None),
    "failure": (DispatchState.FAILED, "the run failed: its page says in which step"),
    "timed_out": (DispatchState.FAILED, "the run took longer than the workflow allows: look at its last step"),
    "startup_failure": (
        DispatchState.FAILED,
        "GitHub can't start the workflow: mend the file that the run's page names",
    ),
    "action_required": (DispatchState.FAILED, "the run waits for somebody's approval: give it on the run's page"),
    "stale": (
        DispatchState.FAILED,
        "GitHub gave the run up after two weeks: see that a runner takes its jobs, then re-run it",
    ),
    "cancelled": (DispatchState.CANCELLED, "the run was cancelled: re-run it if the version is still to be built"),
    "skipped": (DispatchState.CANCELLED, "the run skipped all of its jobs: check each `if` in the workflow"),
}
"""GitHub's conclusions, and what each means for the dispatch."""


def by_dispatch(runs: Iterable[Run], dispatches: Iterable[OpenDispatch]) -> dict[str, Run]:
    """Give the run of each dispatch that has one: the newest whose title begins with the dispatch's id.

    The newest, because a dispatch whose answer was lost may have been sent twice, and the second run stands for both.
    """
    ids = {dispatch.id for dispatch in dispatches}
    found: dict[str, Run] = {}
    for length in {len(each) for each in ids}:
        heads = {run.display_title[:length]: run for run in sorted(runs, key=lambda run: run.id)}
        found |= {head: run for head, run in heads.items() if head in ids}
    return found


def decide(
    dispatch: OpenDispatch, run: Run | None, *, at: float, unseen_after: float = UNSEEN_AFTER
) -> RunObservation | None:
    """Give what has changed of the dispatch; None where nothing has.

    `run` is None where none of all the runs since the dispatch is its own; `at` is when GitHub was asked.
    """
    if run is None:
        return _without_run(dispatch, at, unseen_after)
    state, reason = meaning(run)
    if (state, run.id) == (dispatch.state, dispatch.run_id):
        return None
    started = run.run_started_at.timestamp() if run.run_started_at else None
    return RunObservation(state, run.id, run.html_url, reason, at, started)


def meaning(run: Run) -> tuple[DispatchState, str | None]:
    """Give the state of a dispatch with this run, and what there is to do.

    A run is over where its status is `completed`, and under way in any other (`queued`, `pending`, `waiting`,
    `requested`, `in_progress`, and what GitHub may add). A conclusion that GitHub may add is a failure.
    """
    if run.status != "completed" or not run.conclusion:
        return DispatchState.RUNNING, None
    unknown = (
        DispatchState.FAILED,
        f"the run ended as {run.conclusion[:50]!r}, which is unknown here: its page says more",
    )
    return ENDS.get(run.conclusion, unknown)


def _without_run(dispatch: OpenDispatch, at: float, unseen_after: float) -> RunObservation | None:
    if dispatch.state not in AWAITING_RUN or at < dispatch.sent_at + unseen_after:
        return None
    if dispatch.run_id is not None:
        reason = "the run was deleted before its end was seen: replay the delivery if the version is still to be built"
        return RunObservation(DispatchState.CANCELLED, dispatch.run_id, dispatch.run_url, reason, at)
    reason = (
        f"no run appeared in {dispatch.repository} within {unseen_after / 60:.0f} min: check that a workflow on its "
        f"default branch takes the event type {dispatch.event_type!r} and begins its run-name with the dispatch id, "
        "that Actions and that workflow are enabled there, and that the token may read Actions"
    )
    return RunObservation(DispatchState.UNSEEN, None, None, reason, at)


ACCESS_DELAY: Final = 60.0
"""Seconds that a lane rests before it checks whether a refused credential works again."""


@dataclass(frozen=True)
class Sent:
    """GitHub took it. `run_id` and `run_url` where the run is known already."""

    run_id: int | None = None
    run_url: str | None = None


@dataclass(frozen=True)
class Reject:
    """GitHub will never take it."""

    reason: str


@dataclass(frozen=True)
class Retry:
    """Send it again at `at`."""

    at: float
    reason: str


@dataclass(frozen=True)
class VerifyThenRetry:
    """It may have been sent: at `at`, look for its run, and only then send again."""

    at: float
    reason: str


@dataclass(frozen=True)
class Pause:
    """Nothing goes out on this lane before `until`; the dispatch itself is not to blame.

    `look_first` where the dispatch may have been sent by an earlier request. `repository_only` where others can be
    reached all the same.
    """

    until: float
    reason: str
    look_first: bool = False
    repository_only: bool = False


Decision = Sent | Reject | Retry | VerifyThenRetry | Pause
