"""`GET /health` and `GET /ready`: whether the process lives, and whether it can accept."""

import time
from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from bridge.ledger import LANE, LedgerUnavailable
from bridge.web.state import State

router = APIRouter()


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the process lives; touches nothing."""
    return {"status": "healthy"}


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Answer 503 only where this process can't accept; what else is wrong is named under `degraded`."""
    state = State.of(request)
    try:
        await state.ledger.write_bookmark("ready", str(time.time()))  # only a write tells that it can be written
        paused = await state.ledger.paused()
    except LedgerUnavailable as error:
        return JSONResponse({"degraded": [str(error)]}, 503)
    return JSONResponse({"degraded": list(degraded(state, paused))})


def degraded(state: State, paused: Mapping[str, str]) -> Iterator[str]:
    """Say what is wrong, where this process can accept all the same; `paused` is why which lane is."""
    for lane, reason in paused.items():
        yield f"nothing goes to {'GitHub' if lane == LANE else lane}: {reason}"
    for loop in state.loops:
        if not loop.running:
            yield f"the {loop.name} has stopped: restart the bridge"
        if loop.failing:
            yield f"the {loop.name} has failed several times in a row: check the bridge's log"
    yield from state.follower.problems.values()
    if state.reconciler and state.reconciler.problem:
        yield state.reconciler.problem
