"""How long each phase of a dispatch took: pure; times are Unix seconds.

GitHub's clock says when a run started, ours everything else. A step may therefore seem to come before the one that it
follows: it then counts as simultaneous.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bridge.core.dispatches import UNFINISHED
from bridge.ledger import DispatchDetails, DispatchState

WIDTH: Final = 1000
_LEAST: Final = 8
"""Of the bar's width, so that a phase that took no time is visible, too."""

_ENDS: Final = {
    DispatchState.SUCCEEDED: "Run succeeded",
    DispatchState.FAILED: "Run failed",
    DispatchState.CANCELLED: "Run cancelled",
    DispatchState.SUPERSEDED: "Replaced by a newer dispatch",
    DispatchState.REJECTED: "Rejected by GitHub",
    DispatchState.UNSEEN: "No run appeared",
    DispatchState.WITHDRAWN: "Withdrawn",
}


@dataclass(frozen=True)
class Step:
    """Something that happened at `at`, `took` seconds after the step before; None for the first."""

    name: str
    at: float
    took: float | None


@dataclass(frozen=True)
class Phase:
    """The time between two steps; the last phase may still be open. `x` and `width` are parts of the bar's `WIDTH`."""

    name: str
    kind: str
    seconds: float
    open: bool
    x: int
    width: int


def steps(dispatch: DispatchDetails, received_at: float, *, pushed: bool) -> list[Step]:
    """Return what has happened so far, in order; `pushed`: the run is known to have pushed an image."""
    done = [Step("Received", received_at, None)]
    for name, at in _moments(dispatch, received_at, pushed):
        if at is not None:
            last = done[-1].at
            done.append(Step(name, max(at, last), max(at - last, 0.0)))
    return done


def _moments(dispatch: DispatchDetails, received_at: float, pushed: bool) -> Iterator[tuple[str, float | None]]:
    yield "Replayed", dispatch.created_at if dispatch.created_at > received_at else None
    yield "Dispatched", dispatch.sent_at
    yield "Run started", dispatch.started_at if dispatch.sent_at is not None else None
    end = "Image pushed" if pushed and dispatch.state == DispatchState.SUCCEEDED else _ENDS.get(dispatch.state, "")
    yield end, dispatch.ended_at if dispatch.state not in UNFINISHED else None


def phases(dispatch: DispatchDetails, *, now: float) -> list[Phase]:
    """Return the phases so far, as they are drawn side by side."""
    is_over = dispatch.state not in UNFINISHED
    starts = [("waiting to be dispatched", "waiting", dispatch.created_at)]
    if dispatch.sent_at is not None:
        starts.append(("waiting for the run", "starting", dispatch.sent_at))
        if dispatch.started_at is not None:
            starts.append(("running", "running", max(dispatch.started_at, dispatch.sent_at)))
    end = dispatch.ended_at if is_over and dispatch.ended_at is not None else now
    times = [at for *_, at in starts] + [max(end, starts[-1][2])]
    seconds = [max(after - before, 0.0) for before, after in pairwise(times)]
    # Each phase has the same least width, and its share of the rest.
    total, rest = sum(seconds), WIDTH - _LEAST * len(starts)
    drawn, x = list[Phase](), 0
    for index, ((name, kind, _), duration) in enumerate(zip(starts, seconds, strict=True), 1):
        is_last = index == len(starts)
        share = duration / total if total else 1 / len(starts)
        width = WIDTH - x if is_last else _LEAST + round(rest * share)
        drawn.append(Phase(name, kind, duration, is_last and not is_over, x, width))
        x += width
    return drawn
