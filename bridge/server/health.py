"""`GET /health` and `GET /ready`: whether the process lives, and whether it can accept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from bridge.ledger import LANE, LedgerUnavailable, lanes
from bridge.server.auth import is_admin
from bridge.server.errors import NOT_SIGNED_IN, ErrorRoute
from bridge.server.state import AppState

router = APIRouter(route_class=ErrorRoute)


class DegradedReason(StrEnum):
    """The kind of a fault, which anyone may see."""

    LEDGER_UNAVAILABLE = "ledger-unavailable"
    GITHUB_PAUSED = "github-paused"
    REPOSITORY_PAUSED = "repository-paused"
    LOOP_STOPPED = "loop-stopped"
    LOOP_FAILING = "loop-failing"
    RUNS_NOT_VISIBLE = "runs-not-visible"
    RECONCILING_FAILED = "reconciling-failed"
    ENTRIES_SKIPPED = "entries-skipped"


@dataclass(frozen=True)
class Fault:
    """Something that is wrong; `reason` may contain names, and may quote GitHub or the database."""

    kind: DegradedReason
    reason: str


@router.get("/health")
async def health() -> dict[str, str]:
    """Answer that the process is alive, without touching anything else."""
    return {"status": "healthy"}


@router.get("/ready", responses=NOT_SIGNED_IN)
async def ready(request: Request) -> JSONResponse:
    """Answer 503 only if this process can't accept deliveries; other problems are listed under `degraded`.

    The administrator gets each reason, everyone else only its kind.
    """
    state = AppState.of(request)
    full = await is_admin(request)
    problem = await state.probe.problem()
    try:
        paused = {} if problem else await state.ledger.read(lanes.pause_reasons)
    except LedgerUnavailable as error:
        problem = error
    if problem:
        return JSONResponse(_answer([Fault(DegradedReason.LEDGER_UNAVAILABLE, str(problem))], full=full), 503)
    return JSONResponse(_answer(degraded(state, paused), full=full))


def degraded(state: AppState, paused: Mapping[str, str]) -> Iterator[Fault]:
    """Yield what is wrong while this process can still accept; `paused` has the reason for each paused lane."""
    for lane, reason in paused.items():
        if lane == LANE:
            yield Fault(DegradedReason.GITHUB_PAUSED, f"dispatching is paused: {reason}")
        else:
            yield Fault(DegradedReason.REPOSITORY_PAUSED, f"dispatching to {lane} is paused: {reason}")
    for loop in state.loops:
        if not loop.running:
            yield Fault(DegradedReason.LOOP_STOPPED, f"the {loop.name} has stopped: restart the bridge")
        if loop.failing:
            yield Fault(
                DegradedReason.LOOP_FAILING,
                f"the {loop.name} failed several times in a row: check the bridge's log",
            )
    for reason in state.follower.problems.values():
        yield Fault(DegradedReason.RUNS_NOT_VISIBLE, reason)
    if state.reconciler and state.reconciler.problem:
        yield Fault(DegradedReason.RECONCILING_FAILED, state.reconciler.problem)
    if state.reconciler and state.reconciler.skipped:
        yield Fault(DegradedReason.ENTRIES_SKIPPED, state.reconciler.skipped)


def _answer(faults: Iterable[Fault], *, full: bool) -> dict[str, list[str]]:
    return {"degraded": list(dict.fromkeys(fault.reason if full else fault.kind for fault in faults))}
