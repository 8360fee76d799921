"""Whether a delivery comes from our MLflow, and lately.

Source: MLflow's `mlflow.webhooks.delivery`: `X-MLflow-Signature` is `v1,` and the base64 of HMAC-SHA256, keyed with the
UTF-8 secret, over `<delivery id>.<timestamp>.<body>`. Headers are taken as the bytes that came.
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


class MalformedStamp(BridgeError):
    """Delivery id or timestamp is missing or isn't what MLflow sends."""


class SignatureMissing(BridgeError):
    """The delivery isn't signed."""


class SignatureMismatch(BridgeError):
    """The signature wasn't made with our secret over this delivery."""


class StaleTimestamp(BridgeError):
    """The delivery is too old, or its clock too far ahead."""


@dataclass(frozen=True)
class Stamp:
    """What a delivery's headers say of it: its id, and when MLflow signed it (Unix seconds)."""

    delivery_id: str
    timestamp: int
    signed: bytes
    """Id and timestamp as they came, in the form in which they are signed."""


def stamp(delivery_id: bytes | None, timestamp: bytes | None) -> Stamp:
    """Read the headers of a delivery; raises `MalformedStamp`."""
    if delivery_id is None or not _DELIVERY_ID.fullmatch(delivery_id):
        raise MalformedStamp("X-MLflow-Delivery-Id is missing or no UUID: only MLflow's webhooks are taken here")
    if timestamp is None or not _TIMESTAMP.fullmatch(timestamp):
        raise MalformedStamp("X-MLflow-Timestamp is missing or no Unix time: only MLflow's webhooks are taken here")
    return Stamp(delivery_id.decode("ascii"), int(timestamp), b"%b.%b." % (delivery_id, timestamp))


def claim(signature: bytes | None) -> bytes:
    """Return the signature header if it has MLflow's format; the body isn't needed for that.

    Raises `SignatureMissing` or `SignatureMismatch`.
    """
    if not signature:
        raise SignatureMissing(
            "X-MLflow-Signature is missing, so MLflow has no secret for this webhook: "
            "register the webhook with the bridge's MLFLOW_WEBHOOK_SECRET"
        )
    if not _SIGNATURE.fullmatch(signature):
        raise SignatureMismatch(
            "X-MLflow-Signature is not in MLflow's format: only MLflow's webhooks are accepted here"
        )
    return signature


def verify(stamp: Stamp, signature: bytes, body: bytes, secrets: Sequence[str]) -> None:
    """Return only where `signature` was made over this delivery with one of `secrets`.

    Raises `SignatureMismatch`. Every secret is compared, in constant time; without any secret nothing fits.
    """
    if not secrets:
        raise SignatureMismatch(
            "MLFLOW_WEBHOOK_SECRET is not set, so the bridge takes no deliveries: set it to the webhook's secret, "
            "or delete the webhook"
        )
    fits = [hmac.compare_digest(_signature(secret, stamp.signed, body), signature) for secret in secrets]
    if not any(fits):
        raise SignatureMismatch(
            "X-MLflow-Signature does not fit, so MLflow's secret and the bridge's are not the same: "
            "update the webhook's secret to MLFLOW_WEBHOOK_SECRET"
        )


def check_age(stamp: Stamp, now: float, max_age: float) -> None:
    """Return only where the delivery was signed at most `max_age` seconds ago and `MAX_AHEAD` ahead."""
    if now - stamp.timestamp > max_age:
        raise StaleTimestamp(
            f"X-MLflow-Timestamp is more than {max_age:g} s old: check both clocks, or raise MAX_TIMESTAMP_AGE"
        )
    if stamp.timestamp - now > MAX_AHEAD:
        raise StaleTimestamp(f"X-MLflow-Timestamp is more than {MAX_AHEAD} s ahead: check both clocks")


def sign(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """Give the signature header that MLflow would send."""
    return _signature(secret, f"{delivery_id}.{timestamp}.".encode(), body).decode("ascii")


def _signature(secret: str, signed: bytes, body: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(secret.encode(), signed + body, "sha256"))
