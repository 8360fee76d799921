"""How the status page and its API answer errors: one table of statuses, and one form."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from bridge.core.errors import BridgeError
from bridge.core.payload import PayloadTooLarge
from bridge.ledger import LedgerUnavailable
from bridge.server.auth import CrossSite, NotSignedIn, PageDisabled
from bridge.server.webhook_answers import RETRY_AFTER, ErrorAnswer, outcome_of


class NotFound(BridgeError):
    """There is no such version, delivery or file."""


class InvalidParameter(BridgeError):
    """A parameter has the wrong form."""


class NoMatchingRoute(BridgeError):
    """No route matches the delivery any more."""


STATUSES: Final[Mapping[type[BridgeError], int]] = {
    PageDisabled: 404,
    NotSignedIn: 401,
    CrossSite: 403,
    InvalidParameter: 422,
    NotFound: 404,
    NoMatchingRoute: 409,
    PayloadTooLarge: 422,
    LedgerUnavailable: 503,
}

NOT_SIGNED_IN: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": ErrorAnswer, "description": "The user or password is missing or wrong"}
}


def headers_of(status: int) -> dict[str, str]:
    """Return the headers of an answer with that status; browsers and proxies may store none of ours."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="mlflow-actions-bridge", charset="UTF-8"'
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return headers


def status_of(error: BridgeError) -> int:
    """Return the status for one of `STATUSES`."""
    return next(status for kind, status in STATUSES.items() if isinstance(error, kind))


class ErrorRoute(APIRoute):
    """A route whose errors are answered as JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that also answers our errors."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                answer = await inner(request)
            except tuple(STATUSES) as error:
                return self.answer_error(request, error)
            except RequestValidationError as error:
                # Names the first wrong parameter, never its value.
                first = error.errors()[0]
                return self.answer_error(request, InvalidParameter(f"{first['loc'][-1]} is invalid ({first['msg']})"))
            answer.headers.update(headers_of(answer.status_code))
            return answer

        return handle

    def answer_error(self, request: Request, error: BridgeError) -> Response:
        """Answer the error."""
        status, delivery_id = status_of(error), request.path_params.get("delivery_id")
        answer = ErrorAnswer(status=outcome_of(error), delivery_id=delivery_id, detail=str(error))
        return JSONResponse(answer.model_dump(), status, headers_of(status))
