"""Verification of deliveries: signed with our secret, and recent.

Source: MLflow's `mlflow.webhooks.delivery`: `X-MLflow-Signature` is `v1,` and the base64 of HMAC-SHA256, keyed with the
UTF-8 secret, over `<delivery id>.<timestamp>.<body>`. Headers are the bytes that were received.
"""

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bridge.core.errors import BridgeError

DELIVERY_ID_HEADER = b"x-mlflow-delivery-id"
TIMESTAMP_HEADER = b"x-mlflow-timestamp"
SIGNATURE_HEADER = b"x-mlflow-signature"

MAX_AHEAD = 60
"""Seconds that MLflow's clock may be ahead of ours."""

_DELIVERY_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_SIGNATURE = re.compile(rb"v1,[A-Za-z0-9+/]{43}=")

_ONLY_MLFLOW = "send only MLflow's webhooks to this address"


class MalformedStamp(BridgeError):
    """The delivery id or the timestamp is missing, or doesn't have MLflow's format."""


class SignatureMissing(BridgeError):
    """The delivery is not signed."""


class SignatureMismatch(BridgeError):
    """The signature was not made with our secret for this delivery."""


class StaleTimestamp(BridgeError):
    """The delivery is too old, or too far in the future."""


@dataclass(frozen=True)
class Stamp:
    """A delivery's id, and when MLflow signed it (Unix seconds)."""

    delivery_id: str
    timestamp: int
    signed: bytes
    """Id and timestamp as received, in the form in which they are signed."""


def stamp(delivery_id: bytes | None, timestamp: bytes | None) -> Stamp:
    """Read the headers of a delivery; raises `MalformedStamp`."""
    if delivery_id is None or not _DELIVERY_ID.fullmatch(delivery_id):
        raise MalformedStamp("X-MLflow-Delivery-Id is missing or not a UUID", _ONLY_MLFLOW)
    if timestamp is None or not _TIMESTAMP.fullmatch(timestamp):
        raise MalformedStamp("X-MLflow-Timestamp is missing or not a Unix time", _ONLY_MLFLOW)
    return Stamp(delivery_id.decode("ascii"), int(timestamp), b"%b.%b." % (delivery_id, timestamp))


def claim(signature: bytes | None) -> bytes:
    """Return the signature header if it has MLflow's format; the body isn't needed for that.

    Raises `SignatureMissing` or `SignatureMismatch`.
    """
    if not signature:
        raise SignatureMissing(
            "X-MLflow-Signature is missing, so MLflow has no secret for this webhook",
            "set the webhook's secret in MLflow to the bridge's MLFLOW_WEBHOOK_SECRET",
        )
    if not _SIGNATURE.fullmatch(signature):
        raise SignatureMismatch("X-MLflow-Signature is not in MLflow's format", _ONLY_MLFLOW)
    return signature


def verify(stamp: Stamp, signature: bytes, body: bytes, secrets: Sequence[str]) -> None:
    """Return only if `signature` was made for this delivery with one of `secrets`; raises `SignatureMismatch`.

    Every secret is compared, in constant time. Without any secret, no signature is valid.
    """
    if not secrets:
        raise SignatureMismatch(
            "MLFLOW_WEBHOOK_SECRET is not set, so the bridge accepts no deliveries",
            "set it to the webhook's secret, or delete the webhook in MLflow",
        )
    matches = [hmac.compare_digest(_signature(secret, stamp.signed, body), signature) for secret in secrets]
    if not any(matches):
        raise SignatureMismatch(
            "X-MLflow-Signature is wrong, so MLflow and the bridge have different secrets",
            "set the webhook's secret in MLflow to the bridge's MLFLOW_WEBHOOK_SECRET",
        )


def check_age(stamp: Stamp, now: float, max_age: float) -> None:
    """Return only if the delivery was signed at most `max_age` seconds ago and at most `MAX_AHEAD` in the future."""
    if now - stamp.timestamp > max_age:
        raise StaleTimestamp(
            f"X-MLflow-Timestamp is more than {max_age:g} s old",
            "synchronize both clocks, or increase MAX_TIMESTAMP_AGE",
        )
    if stamp.timestamp - now > MAX_AHEAD:
        raise StaleTimestamp(f"X-MLflow-Timestamp is more than {MAX_AHEAD} s in the future", "synchronize both clocks")


def sign(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature header that MLflow would send."""
    return _signature(secret, f"{delivery_id}.{timestamp}.".encode(), body).decode("ascii")


def _signature(secret: str, signed: bytes, body: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(secret.encode(), signed + body, "sha256"))
