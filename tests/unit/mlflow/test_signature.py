import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mlflow.signature import (
    MalformedStamp,
    SignatureMismatch,
    SignatureMissing,
    StaleTimestamp,
    check_age,
    claim,
    sign,
    stamp,
    verify,
)

ID = "8f08b1de-4c1b-4f2e-9c1a-0123456789ab"
NOW = 1_700_000_000
STAMP = stamp(ID.encode(), str(NOW).encode())
SECRET = "a secret, ünïcode too"


def test_the_signature_is_that_of_mlflow() -> None:
    """Step by step as in `mlflow.webhooks.delivery._generate_hmac_signature`."""
    digest = hmac.new(SECRET.encode(), f"{ID}.{NOW}.{{}}".encode(), hashlib.sha256).digest()
    assert sign(SECRET, ID, NOW, b"{}") == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("secrets", [(SECRET,), ("other", SECRET), (SECRET, "other")])
def test_a_signature_with_any_of_the_secrets_is_accepted(secrets: tuple[str, ...]) -> None:
    verify(STAMP, sign(SECRET, ID, NOW, b"body").encode(), b"body", secrets)


@pytest.mark.parametrize("signature", [None, b""])
def test_an_unsigned_delivery_is_refused(signature: bytes | None) -> None:
    with pytest.raises(SignatureMissing):
        claim(signature)


@given(st.binary(min_size=1) | st.from_regex(rb"v1,[A-Za-z0-9+/]{42,44}=?", fullmatch=True))
def test_a_claim_has_the_format_of_mlflows_signature_or_is_refused(signature: bytes) -> None:
    is_one = len(signature) == 47 and signature.startswith(b"v1,") and signature.endswith(b"=")
    try:
        assert claim(signature) == signature
        assert is_one
    except SignatureMismatch:
        assert not is_one or not re.fullmatch(rb"[A-Za-z0-9+/]{43}", signature[3:-1])


def test_without_a_secret_no_signature_is_accepted() -> None:
    with pytest.raises(SignatureMismatch):
        verify(STAMP, sign("", ID, NOW, b"body").encode(), b"body", ())


def test_a_signature_over_other_bytes_is_refused() -> None:
    signature = sign(SECRET, ID, NOW, b"body").encode()
    other_id = stamp(ID.replace("8", "9").encode(), str(NOW).encode())
    other_time = stamp(ID.encode(), str(NOW + 1).encode())
    for stamped, body in ((STAMP, b"body "), (other_id, b"body"), (other_time, b"body")):
        with pytest.raises(SignatureMismatch):
            verify(stamped, signature, body, (SECRET,))


@given(st.binary(min_size=1), st.binary())
def test_no_bytes_pass_as_a_signature_or_raise_another_error(signature: bytes, body: bytes) -> None:
    with pytest.raises(SignatureMismatch):
        verify(STAMP, signature, body, (SECRET,))


@given(st.integers(min_value=0, max_value=46), st.integers(min_value=1, max_value=255))
def test_a_signature_with_one_byte_changed_is_refused(at: int, by: int) -> None:
    signature = bytearray(sign(SECRET, ID, NOW, b"body").encode())
    signature[at] ^= by
    with pytest.raises(SignatureMismatch):
        verify(STAMP, bytes(signature), b"body", (SECRET,))


@given(st.none() | st.binary(), st.none() | st.binary())
def test_headers_are_read_or_refused(delivery_id: bytes | None, timestamp: bytes | None) -> None:
    try:
        stamp(delivery_id, timestamp)
    except MalformedStamp:
        return
    assert delivery_id
    assert timestamp


@pytest.mark.parametrize("delivery_id", [None, b"", b"1", ID.encode() + b"\n", b" " + ID.encode(), ID.upper().encode()])
def test_a_delivery_id_that_is_not_a_uuid_is_malformed(delivery_id: bytes | None) -> None:
    with pytest.raises(MalformedStamp, match="X-MLflow-Delivery-Id"):
        stamp(delivery_id, b"1700000000")


@pytest.mark.parametrize(
    "timestamp", [None, b"", b"-1", b"1e9", b"1.5", b"1700000000\n", "١٢".encode(), b"1" * 13, b"0x10"]
)
def test_a_timestamp_that_is_not_a_unix_time_is_malformed(timestamp: bytes | None) -> None:
    with pytest.raises(MalformedStamp, match="X-MLflow-Timestamp"):
        stamp(ID.encode(), timestamp)


@pytest.mark.parametrize("age", [-60, 0, 299.9, 300])
def test_a_delivery_within_its_age_is_accepted(age: float) -> None:
    check_age(STAMP, NOW + age, 300)


@pytest.mark.parametrize("age", [300.1, 10**9, -60.1])
def test_a_delivery_too_old_or_too_far_in_the_future_is_refused(age: float) -> None:
    with pytest.raises(StaleTimestamp):
        check_age(STAMP, NOW + age, 300)


@pytest.mark.parametrize("secret", ["", "s"])
def test_a_missing_secret_is_named(secret: str) -> None:
    signed = sign(secret, ID, STAMP.timestamp, b"{}").encode()
    with pytest.raises(SignatureMismatch, match="MLFLOW_WEBHOOK_SECRET is not set"):
        verify(STAMP, signed, b"{}", ())
