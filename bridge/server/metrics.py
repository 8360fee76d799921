"""`GET /metrics`: what Prometheus reads."""

import time

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from bridge.ledger import LedgerUnavailable, queries
from bridge.server.figures import CONTENT_TYPE
from bridge.server.state import AppState

router = APIRouter()


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Give all metrics; also where the ledger can't be read, and then without its figures."""
    state = AppState.of(request)
    await _ask_ledger(state, arrived=time.monotonic())
    state.metrics.github(state.github.quota, state.github.token_expires_at)
    return Response(state.metrics.text(), media_type=CONTENT_TYPE)


async def _ask_ledger(state: AppState, *, arrived: float) -> None:
    """Ask the ledger once for all who ask meanwhile: to count a million dispatches takes it half a second."""
    async with state.metrics.asking:
        if state.metrics.told_at > arrived:
            return
        try:
            state.metrics.tell(await state.ledger.read(queries.figures, now=state.ledger.time()))
        except LedgerUnavailable:
            state.metrics.tell(None)
