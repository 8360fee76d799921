"""The webhook's answers: outcomes, errors, and the status of each."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from bridge.core.errors import BridgeError
from bridge.core.events import UnsupportedEvent
from bridge.core.payload import PayloadTooLarge
from bridge.ledger import LedgerUnavailable
from bridge.mlflow.signature import MalformedStamp, SignatureMismatch, SignatureMissing, StaleTimestamp
from bridge.server.bodies import TooManyBodies

RETRY_AFTER: Final = 2
"""Seconds. Each of MLflow's three retries waits this long, and so does its user."""


class TooManyHeaders(BridgeError):
    """The request has more headers than any known client sends."""


class Misframed(BridgeError):
    """It is ambiguous where the request ends."""


class BodyTooLarge(BridgeError):
    """The body is longer than the webhook accepts."""


class BodyCutOff(BridgeError):
    """The sender disconnected before the body was complete."""


class Outcome(StrEnum):
    """What became of a delivery or a request."""

    SUBMITTED = "submitted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    TEST = "test"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class DeliveryAnswer(BaseModel):
    """The response to an accepted delivery."""

    status: Outcome
    delivery_id: str


class ErrorAnswer(BaseModel):
    """The response to a delivery or request that was refused; `detail` says why, and what to do."""

    status: Outcome
    delivery_id: str | None = None
    detail: str


ERROR_STATUSES: Final[Mapping[type[BridgeError], int]] = {
    TooManyHeaders: 431,
    Misframed: 400,
    MalformedStamp: 400,
    BodyTooLarge: 413,
    SignatureMissing: 401,
    TooManyBodies: 503,
    BodyCutOff: 400,
    SignatureMismatch: 401,
    StaleTimestamp: 400,
    UnsupportedEvent: 422,
    PayloadTooLarge: 422,
    LedgerUnavailable: 503,
}
"""In the order in which `bridge.server` checks them."""

OUTCOME_STATUSES: Final[Mapping[Outcome, int]] = {
    Outcome.TEST: 200,
    Outcome.SUBMITTED: 202,
    Outcome.DUPLICATE: 202,
    Outcome.IGNORED: 202,
}

DESCRIPTION: Final[dict[int | str, dict[str, Any]]] = {
    **{
        status: {"model": DeliveryAnswer, "description": "The delivery has a valid signature and was accepted"}
        for status in OUTCOME_STATUSES.values()
    },
    **{
        status: {"model": ErrorAnswer, "description": "The delivery was refused; `detail` says why"}
        for status in sorted(set(ERROR_STATUSES.values()))
    },
}
"""For OpenAPI."""


def outcome_of(error: BridgeError) -> Outcome:
    """Return the outcome of a delivery with this error: MLflow retries if it is `unavailable`."""
    return Outcome.UNAVAILABLE if isinstance(error, LedgerUnavailable | TooManyBodies) else Outcome.REFUSED


def accepted(outcome: Outcome, delivery_id: str) -> JSONResponse:
    """Answer a delivery that MLflow has sent."""
    return JSONResponse({"status": outcome, "delivery_id": delivery_id}, OUTCOME_STATUSES[outcome])


def refused(error: BridgeError, delivery_id: str | None, *, close: bool) -> JSONResponse:
    """Answer a delivery that is not accepted, with the reason, which MLflow shows to whoever tests a webhook.

    `close`: the body has not been read to its end.
    """
    status = next(status for kind, status in ERROR_STATUSES.items() if isinstance(error, kind))
    headers = {}
    if close:
        headers["Connection"] = "close"
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    if isinstance(error, LedgerUnavailable):  # its own text may name the database
        error = LedgerUnavailable("the bridge temporarily can't store the delivery", "send it again")
    answer = ErrorAnswer(status=outcome_of(error), delivery_id=delivery_id, detail=str(error))
    return JSONResponse(answer.model_dump(), status, headers)
