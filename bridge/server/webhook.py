"""`POST /webhook`: a delivery from MLflow is checked and stored, and only then answered."""

import time
from collections.abc import Mapping
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request, Response

from bridge.core import events
from bridge.core.errors import BridgeError
from bridge.core.events import Event, EventKind
from bridge.core.limits import MAX_BODY
from bridge.ledger import Accepted, Duplicate
from bridge.mlflow import signature
from bridge.mlflow.signature import DELIVERY_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from bridge.server import webhook_answers
from bridge.server.bodies import Body
from bridge.server.state import AppState
from bridge.server.webhook_answers import BodyCutOff, BodyTooLarge, Outcome
from bridge.workers import intake

_HEADERS: Final[Mapping[bytes, Mapping[str, str]]] = {
    DELIVERY_ID_HEADER: {"type": "string", "format": "uuid"},
    TIMESTAMP_HEADER: {"type": "string", "pattern": "^[0-9]{1,12}$"},
    SIGNATURE_HEADER: {"type": "string", "pattern": "^v1,[A-Za-z0-9+/]{43}=$"},
}

_DESCRIPTION: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name.decode(), "in": "header", "required": True, "schema": schema} for name, schema in _HEADERS.items()
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"oneOf": [events.json_schema(kind) for kind in EventKind]}}},
    },
}
"""For OpenAPI: headers and body are read by hand, so FastAPI can't describe them."""

router = APIRouter()
_log = structlog.get_logger(__name__)


@router.post("/webhook", status_code=202, responses=webhook_answers.DESCRIPTION, openapi_extra=_DESCRIPTION)
async def webhook(request: Request) -> Response:
    """Accept a delivery from MLflow. 202 means that it is stored and will be dispatched."""
    state, delivery_id, is_read = AppState.of(request), None, False
    try:
        # 1. What the headers rule out is answered without reading the body.
        headers = _headers(request)
        stamp = signature.stamp(headers.get(DELIVERY_ID_HEADER), headers.get(TIMESTAMP_HEADER))
        delivery_id = stamp.delivery_id
        if _announced_length(headers) > MAX_BODY:
            raise _too_large()
        claimed = signature.claim(headers.get(SIGNATURE_HEADER))
        # 2. The body counts towards the budget until its signature is verified.
        with state.unverified.body() as arriving:
            await _read(request, arriving)
            is_read, body = True, bytes(arriving)
            signature.verify(stamp, claimed, body, state.settings.webhook_secrets)
        # 3. MLflow has sent it: is it recent, and a supported event?
        signature.check_age(stamp, time.time(), state.settings.max_timestamp_age)
        event = events.parse(body)
        # 4. It is stored before it is answered.
        outcome = Outcome.TEST if event.is_test else await _store(state, delivery_id, event)
    except BridgeError as error:
        state.metrics.delivery(webhook_answers.outcome_of(error), type(error).__name__)
        _log.warning("delivery refused", delivery_id=delivery_id, kind=type(error).__name__, reason=str(error))
        return webhook_answers.refused(error, delivery_id, close=not is_read)
    state.metrics.delivery(outcome)
    _log.info(
        "delivery", status=outcome, delivery_id=delivery_id, kind=event.kind, model=event.model, version=event.version
    )
    return webhook_answers.accepted(outcome, delivery_id)


async def _store(state: AppState, delivery_id: str, event: Event) -> Outcome:
    match await intake.accept(state.ledger, event, delivery_id, state.settings.routes, now=state.ledger.time()):
        case None:
            return Outcome.IGNORED
        case Duplicate():
            return Outcome.DUPLICATE
        case Accepted():
            state.dispatcher.wake()
            return Outcome.SUBMITTED


def _headers(request: Request) -> dict[bytes, bytes | None]:
    """Return the headers as they came; one that came twice counts as absent, because either could be meant."""
    headers: dict[bytes, bytes | None] = {}
    for name, value in request.scope["headers"]:
        headers[name] = None if name in headers else value
    return headers


async def _read(request: Request, body: Body) -> None:
    """Read the whole body; raises `BodyTooLarge` as soon as it is too large, without reading on."""
    more_body = True
    while more_body:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise BodyCutOff("the sender disconnected before the body was complete", "send it again")
        chunk = message.get("body", b"")
        if len(body) + len(chunk) > MAX_BODY:
            raise _too_large()
        body.add(chunk)
        more_body = message.get("more_body", False)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the body is longer than {MAX_BODY} bytes", "send only MLflow's webhooks to this address")


def _announced_length(headers: Mapping[bytes, bytes | None]) -> int:
    """Return Content-Length; 0 if it is missing or not a number."""
    try:
        return int(headers.get(b"content-length") or 0)
    except ValueError:
        return 0
