"""How long each phase of a dispatch took. Pure; times are Unix seconds.

GitHub's clock says when a run started, ours everything else. A step may therefore seem to precede the one that it
follows: it then counts as simultaneous.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bridge.core.dispatches import UNFINISHED
from bridge.ledger import DispatchDetails, DispatchState

WIDTH: Final = 1000
_MIN_WIDTH: Final = 8
"""Of the bar's width, so that a phase that took no time is visible."""

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
    """Return the steps so far, in order; `pushed`: the run is known to have pushed an image."""
    end = "Image pushed" if pushed and dispatch.state == DispatchState.SUCCEEDED else _ENDS.get(dispatch.state, "")
    moments = (
        ("Replayed", dispatch.created_at if dispatch.created_at > received_at else None),
        ("Dispatched", dispatch.sent_at),
        ("Run started", dispatch.started_at if dispatch.sent_at is not None else None),
        (end, dispatch.ended_at if dispatch.state not in UNFINISHED else None),
    )
    timeline = [Step("Received", received_at, None)]
    for name, at in moments:
        if at is not None:
            last = timeline[-1].at
            timeline.append(Step(name, max(at, last), max(at - last, 0.0)))
    return timeline


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
    # Each phase has the minimum width, and its share of what is left.
    total, shared = sum(seconds), WIDTH - _MIN_WIDTH * len(starts)
    drawn, x = list[Phase](), 0
    for index, ((name, kind, _), duration) in enumerate(zip(starts, seconds, strict=True), 1):
        is_last = index == len(starts)
        share = duration / total if total else 1 / len(starts)
        width = WIDTH - x if is_last else _MIN_WIDTH + round(shared * share)
        drawn.append(Phase(name, kind, duration, is_last and not is_over, x, width))
        x += width
    return drawn
