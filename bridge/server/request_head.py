"""Rejects a request whose head is ambiguous or too long, before anything else of the application sees it."""

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.core.errors import BridgeError
from bridge.core.limits import MAX_HEADERS
from bridge.server import webhook_answers
from bridge.server.webhook_answers import Misframed, TooManyHeaders

_log = structlog.get_logger(__name__)


class RequestHeadCheck:
    """ASGI middleware: answers 400 or 431 and closes the connection, or passes the request on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] == "http":
            try:
                _check(scope)
            except BridgeError as error:
                _log.warning("request refused", kind=type(error).__name__, reason=str(error), peer=scope.get("client"))
                await webhook_answers.refused(error, None, close=True)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _check(scope: Scope) -> None:
    """Raise for a request whose end a proxy may see elsewhere than we do; h11 itself rejects invalid HTTP.

    Source: RFC 9112, "Message Body Length" and "Transfer-Encoding". If both are given, h11 uses the chunks.
    """
    names = [name for name, _ in scope["headers"]]
    if len(names) > MAX_HEADERS:
        raise TooManyHeaders(f"the request has more than {MAX_HEADERS} headers", "send fewer headers")
    if b"transfer-encoding" in names and (b"content-length" in names or scope["http_version"] != "1.1"):
        raise Misframed(
            "the request has Transfer-Encoding together with Content-Length, or in HTTP/1.0", "send only Content-Length"
        )
