"""What the status page and its API answer where they can't do what is asked: one table, and one form."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from bridge.core.errors import BridgeError
from bridge.core.payload import PayloadTooLarge
from bridge.ledger import LedgerUnavailable
from bridge.server.auth import CrossSite, NoPage, NotSignedIn
from bridge.server.webhook_answers import RETRY_AFTER, Word


class Unknown(BridgeError):
    """There is no such version or delivery."""


class Invalid(BridgeError):
    """A parameter is not of its form."""


class NothingToSend(BridgeError):
    """No route wants the delivery any more."""


STATUSES: Final[Mapping[type[BridgeError], int]] = {
    NoPage: 404,
    NotSignedIn: 401,
    CrossSite: 403,
    Invalid: 422,
    Unknown: 404,
    NothingToSend: 409,
    PayloadTooLarge: 422,
    LedgerUnavailable: 503,
}


class Refusal(BaseModel):
    """Why not: `detail` says so, as everywhere."""

    status: str
    delivery_id: str | None = None
    detail: str


NOT_SIGNED_IN: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": Refusal, "description": "User or password is missing or wrong"}
}


def headers(code: int) -> dict[str, str]:
    """Give what goes with an answer of that status; nothing of ours is kept by browsers and proxies."""
    found = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if code == 401:
        found["WWW-Authenticate"] = 'Basic realm="mlflow-actions-bridge", charset="UTF-8"'
    if code == 503:
        found["Retry-After"] = str(RETRY_AFTER)
    return found


def code(error: BridgeError) -> int:
    """Give the status for one of `STATUSES`."""
    return next(code for kind, code in STATUSES.items() if isinstance(error, kind))


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class RefusingRoute(APIRoute):
    """A route whose errors are answered as JSON."""

    def get_route_handler(self) -> Handler:
        """Give the handler that answers errors of ours."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                answer = await inner(request)
            except tuple(STATUSES) as error:
                return self.refuse(request, error)
            except RequestValidationError as error:
                return self.refuse(request, invalid(error))
            answer.headers.update(headers(answer.status_code))
            return answer

        return handle

    def refuse(self, request: Request, error: BridgeError) -> Response:
        """Answer the error."""
        word = Word.UNAVAILABLE if isinstance(error, LedgerUnavailable) else Word.REFUSED
        about = Refusal(status=word, delivery_id=request.path_params.get("delivery_id"), detail=str(error))
        return JSONResponse(about.model_dump(), code(error), headers(code(error)))


def invalid(error: RequestValidationError) -> Invalid:
    """Name the first parameter that is wrong, never its value."""
    first = error.errors()[0]
    return Invalid(f"{first['loc'][-1]} is wrong ({first['msg']}): mend it")
