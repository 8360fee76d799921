"""`GET /health` and `GET /ready`: whether the process lives, and whether it can accept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from bridge.ledger import LANE, LedgerUnavailable
from bridge.server.auth import is_admin
from bridge.server.errors import NOT_SIGNED_IN, RefusingRoute
from bridge.server.state import State

router = APIRouter(route_class=RefusingRoute)


class Kind(StrEnum):
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

    kind: Kind
    reason: str


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the process lives; touches nothing."""
    return {"status": "healthy"}


@router.get("/ready", responses=NOT_SIGNED_IN)
async def ready(request: Request) -> JSONResponse:
    """Answer 503 only if this process can't accept deliveries; other problems are listed under `degraded`.

    The administrator gets each reason, everyone else only its kind.
    """
    state = State.of(request)
    full = await is_admin(request)
    problem = await state.probe.problem()
    try:
        paused = {} if problem else await state.ledger.paused()
    except LedgerUnavailable as error:
        problem = error
    if problem:
        return JSONResponse(_answer([Fault(Kind.LEDGER_UNAVAILABLE, str(problem))], full=full), 503)
    return JSONResponse(_answer(degraded(state, paused), full=full))


def degraded(state: State, paused: Mapping[str, str]) -> Iterator[Fault]:
    """Yield what is wrong while this process can still accept; `paused` has the reason for each paused lane."""
    for lane, reason in paused.items():
        kind, where = (Kind.GITHUB_PAUSED, "GitHub") if lane == LANE else (Kind.REPOSITORY_PAUSED, lane)
        yield Fault(kind, f"nothing goes to {where}: {reason}")
    for loop in state.loops:
        if not loop.running:
            yield Fault(Kind.LOOP_STOPPED, f"the {loop.name} has stopped: restart the bridge")
        if loop.failing:
            yield Fault(Kind.LOOP_FAILING, f"the {loop.name} has failed several times in a row: check the bridge's log")
    for reason in state.follower.problems.values():
        yield Fault(Kind.RUNS_NOT_VISIBLE, reason)
    if state.reconciler and state.reconciler.problem:
        yield Fault(Kind.RECONCILING_FAILED, state.reconciler.problem)
    if state.reconciler and state.reconciler.skipped:
        yield Fault(Kind.ENTRIES_SKIPPED, state.reconciler.skipped)


def _answer(faults: Iterable[Fault], *, full: bool) -> dict[str, list[str]]:
    return {"degraded": list(dict.fromkeys(fault.reason if full else fault.kind for fault in faults))}
