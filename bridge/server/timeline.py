"""How long each part of a dispatch's way took: pure; times are Unix seconds.

GitHub's clock says when a run started and ours all else, so a step may seem to come before the one that it follows: it
then counts as coming with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bridge.core.dispatches import UNFINISHED
from bridge.ledger import DispatchDetails, DispatchState

WIDTH: Final = 1000
_LEAST: Final = 8
"""Of the bar's width, so that what took no time is seen, too."""

_ENDS: Final = {
    DispatchState.SUCCEEDED: "Run succeeded",
    DispatchState.FAILED: "Run failed",
    DispatchState.CANCELLED: "Run cancelled",
    DispatchState.SUPERSEDED: "Run superseded",
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
class Stretch:
    """What went on between two steps; the last one may go on still. `x` and `width` are of the bar's `WIDTH`."""

    name: str
    kind: str
    seconds: float
    open: bool
    x: int
    width: int


def steps(sending: DispatchDetails, received_at: float, *, pushed: bool) -> list[Step]:
    """Give what has happened so far, in its order; `pushed` where its run is known to have pushed."""
    found = [Step("Received", received_at, None)]
    for name, at in _moments(sending, received_at, pushed):
        if at is not None:
            last = found[-1].at
            found.append(Step(name, max(at, last), max(at - last, 0.0)))
    return found


def _moments(sending: DispatchDetails, received_at: float, pushed: bool) -> Iterator[tuple[str, float | None]]:
    yield "Replayed", sending.created_at if sending.created_at > received_at else None
    yield "Dispatched", sending.sent_at
    yield "Run started", sending.started_at if sending.sent_at is not None else None
    done = "Image pushed" if pushed and sending.state == DispatchState.SUCCEEDED else _ENDS.get(sending.state, "")
    yield done, sending.ended_at if sending.state not in UNFINISHED else None


def stretches(sending: DispatchDetails, *, now: float) -> list[Stretch]:
    """Give the parts of the way, as they are drawn side by side."""
    over = sending.state not in UNFINISHED
    until = sending.ended_at if over and sending.ended_at is not None else now
    marks = [("waiting to be sent", "waiting", sending.created_at)]
    if sending.sent_at is not None:
        marks.append(("waiting for the run", "starting", sending.sent_at))
        if sending.started_at is not None:
            marks.append(("running", "running", max(sending.started_at, sending.sent_at)))
    until = max(until, marks[-1][2])
    ends = [at for *_, at in marks[1:]] + [until]
    parts = [(name, kind, max(end - at, 0.0)) for (name, kind, at), end in zip(marks, ends, strict=True)]
    return _drawn(parts, over=over)


def _drawn(parts: list[tuple[str, str, float]], *, over: bool) -> list[Stretch]:
    total = sum(seconds for *_, seconds in parts)
    room = WIDTH - _LEAST * len(parts)
    found, x = list[Stretch](), 0
    for number, (name, kind, seconds) in enumerate(parts, 1):
        is_last = number == len(parts)
        share = seconds / total if total else 1 / len(parts)
        width = WIDTH - x if is_last else _LEAST + round(room * share)
        found.append(Stretch(name, kind, seconds, is_last and not over, x, width))
        x += width
    return found
