"""`GET /health` and `GET /ready`: whether the process lives, and whether it can accept."""

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from bridge.ledger import Lane, LedgerUnavailable
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
        lane, repositories = await state.ledger.lane(), await state.ledger.paused_repositories()
    except LedgerUnavailable as error:
        return JSONResponse({"degraded": [str(error)]}, 503)
    return JSONResponse({"degraded": list(_degraded(state, lane, repositories))})


def _degraded(state: State, lane: Lane, repositories: Mapping[str, str]) -> Iterator[str]:
    if lane.paused_because:
        yield f"nothing goes to GitHub: {lane.paused_because}"
    for repository, reason in repositories.items():
        yield f"nothing goes to {repository}: {reason}"
    for loop in state.loops:
        if not loop.running:
            yield f"the {loop.name} has stopped: restart the bridge"
    yield from state.follower.problems.values()
    if state.reconciler and state.reconciler.problem:
        yield state.reconciler.problem
