"""`POST /webhook`: a delivery of MLflow's is checked, written down, and only then answered.

What can be decided by the headers is decided before the body is read.
"""

import time
from collections.abc import Mapping
from typing import Final

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from bridge.core import events
from bridge.core.errors import BridgeError
from bridge.core.events import Event
from bridge.ledger import Accepted, Duplicate
from bridge.mlflow import signature
from bridge.mlflow.signature import DELIVERY_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Stamp
from bridge.server import webhook_answers
from bridge.server.bodies import Body
from bridge.server.deadline import MAX_HEADERS
from bridge.server.description import WEBHOOK
from bridge.server.state import AppState
from bridge.server.webhook_answers import BodyCutOff, BodyTooLarge, Misframed, TooManyHeaders, Word
from bridge.workers import intake

PATH: Final = "/webhook"
MAX_BODY: Final = 1024 * 1024
"""Bytes. MLflow's events are some hundred; descriptions and tags may make them longer."""

router = APIRouter()
_log = structlog.get_logger(__name__)


class WebhookFirst:
    """The application, with the checks of every request's head before it.

    `POST /webhook` is answered ahead of its layers: these take as long as all that we do.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            _check_head(scope)
        except BridgeError as error:
            _log.warning("request refused", kind=type(error).__name__, reason=str(error), peer=scope.get("client"))
            await webhook_answers.refused(error, None, close=True)(scope, receive, send)
            return
        if (scope["method"], scope["path"]) == ("POST", PATH):
            scope["app"] = self._app
            response = await webhook(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@router.post(PATH, status_code=202, openapi_extra=WEBHOOK)
async def webhook(request: Request) -> Response:
    """Take a delivery of MLflow's. 202 says that it is written down and will be dispatched."""
    state, delivery_id, whole = AppState.of(request), None, False
    try:
        headers = _headers(request)
        stamp = signature.stamp(headers.get(DELIVERY_ID_HEADER), headers.get(TIMESTAMP_HEADER))
        delivery_id = stamp.delivery_id
        if _announced(headers) > MAX_BODY:
            raise _too_large()
        claimed = signature.claim(headers.get(SIGNATURE_HEADER))
        with state.unverified.body() as arriving:
            await _read(request, arriving)
            whole, body = True, bytes(arriving)
            signature.verify(stamp, claimed, body, state.settings.webhook_secrets)
        word = await receive(state, stamp, body)
        state.metrics.delivery(word)
        return webhook_answers.taken(word, delivery_id)
    except BridgeError as error:
        state.metrics.delivery(webhook_answers.word(error), type(error).__name__)
        _log.warning("delivery refused", delivery_id=delivery_id, kind=type(error).__name__, reason=str(error))
        return webhook_answers.refused(error, delivery_id, close=not whole)


async def receive(state: AppState, stamp: Stamp, body: bytes) -> Word:
    """Check the content of a delivery whose signature is valid, and accept it; raises one of `answers.REFUSALS`."""
    signature.check_age(stamp, time.time(), state.settings.max_timestamp_age)
    event = events.parse(body)
    word = Word.TEST if event.is_test else await _accept(state, stamp.delivery_id, event)
    _log.info(
        "delivery",
        status=word,
        delivery_id=stamp.delivery_id,
        kind=event.kind,
        model=event.model,
        version=event.version,
    )
    return word


async def _accept(state: AppState, delivery_id: str, event: Event) -> Word:
    match await intake.accept(state.ledger, event, delivery_id, state.settings.routes, now=state.ledger.time()):
        case None:
            return Word.IGNORED
        case Duplicate():
            return Word.DUPLICATE
        case Accepted():
            state.dispatcher.wake()
            return Word.SUBMITTED


def _headers(request: Request) -> dict[bytes, bytes | None]:
    """Give the headers as they came; one that came twice counts as absent, for which of the two was meant?"""
    headers: dict[bytes, bytes | None] = {}
    for name, value in request.scope["headers"]:
        headers[name] = None if name in headers else value
    return headers


def _check_head(scope: Scope) -> None:
    """Refuse a request whose end a proxy may see elsewhere than we do; h11 itself refuses invalid HTTP.

    Source: RFC 9112, "Message Body Length" and "Transfer-Encoding". If both are given, h11 uses the chunks.
    """
    names = [name for name, _ in scope["headers"]]
    if len(names) > MAX_HEADERS:
        raise TooManyHeaders(f"the request has more than {MAX_HEADERS} headers: send fewer")
    if b"transfer-encoding" in names and (b"content-length" in names or scope["http_version"] != "1.1"):
        raise Misframed("Transfer-Encoding is given with Content-Length or with HTTP/1.0: send only Content-Length")


async def _read(request: Request, body: Body) -> None:
    """Read the whole body; raises `BodyTooLarge` as soon as it is too large, without reading on."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise BodyCutOff("the sender went away before the body was whole: it may send it again")
        part = message.get("body", b"")
        if len(body) + len(part) > MAX_BODY:
            raise _too_large()
        body.add(part)
        more = message.get("more_body", False)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the body is longer than {MAX_BODY} bytes: only MLflow's webhooks are taken here")


def _announced(headers: Mapping[bytes, bytes | None]) -> int:
    """Give the length that the sender announces; 0 where there is none, or none that is a number."""
    try:
        return int(headers.get(b"content-length") or 0)
    except ValueError:
        return 0
