"""What the webhook answers: one table of statuses, in the order in which they are checked."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from fastapi.responses import JSONResponse

from bridge.core.errors import BridgeError
from bridge.core.events import UnsupportedEvent
from bridge.core.payload import PayloadTooLarge
from bridge.ledger import LedgerUnavailable
from bridge.mlflow.signature import MalformedStamp, SignatureMismatch, SignatureMissing, StaleTimestamp
from bridge.server.bodies import TooManyBodies

RETRY_AFTER: Final = 2
"""Seconds. MLflow's three retries wait this long each, and its user with them."""


class TooManyHeaders(BridgeError):
    """The request has more headers than any known client sends."""


class Misframed(BridgeError):
    """It is ambiguous where the request ends."""


class BodyTooLarge(BridgeError):
    """The body is longer than the webhook takes."""


class BodyCutOff(BridgeError):
    """The sender went away before the body was whole."""


class Word(StrEnum):
    """The `status` of an answer."""

    SUBMITTED = "submitted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    TEST = "test"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


REFUSALS: Final[Mapping[type[BridgeError], int]] = {
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
"""In the order of the checks in `bridge.server.webhook`."""

TAKEN: Final[Mapping[Word, int]] = {
    Word.TEST: 200,
    Word.SUBMITTED: 202,
    Word.DUPLICATE: 202,
    Word.IGNORED: 202,
}


def word(error: BridgeError) -> Word:
    """Say what becomes of a delivery that met this error: MLflow sends it again where we are `unavailable`."""
    return Word.UNAVAILABLE if isinstance(error, LedgerUnavailable | TooManyBodies) else Word.REFUSED


def taken(word: Word, delivery_id: str) -> JSONResponse:
    """Answer a delivery that is ours."""
    return JSONResponse({"status": word, "delivery_id": delivery_id}, TAKEN[word])


def refused(error: BridgeError, delivery_id: str | None, *, close: bool) -> JSONResponse:
    """Answer a delivery that is not accepted, with the reason, which MLflow shows to whoever tests a webhook.

    `close`: the body has not been read to its end.
    """
    code = next(code for kind, code in REFUSALS.items() if isinstance(error, kind))
    headers = {}
    detail = str(error)
    if close:
        headers["Connection"] = "close"
    if code == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    if isinstance(error, LedgerUnavailable):
        detail = "the bridge can't write the delivery down just now: send it again"
    return JSONResponse({"status": word(error), "delivery_id": delivery_id, "detail": detail}, code, headers)
