"""What the webhook answers, in the promised order, and what it stores."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from mlflow.entities.webhook import WebhookEvent
from mlflow.webhooks.types import EVENT_TO_PAYLOAD_CLASS, get_example_payload_for_event

from bridge.core.events import EventKind
from bridge.core.limits import MAX_BODY, MAX_HEADERS, MAX_UNVERIFIED_BODIES
from bridge.ledger import Ledger, LedgerUnavailable
from bridge.mlflow.signature import sign
from bridge.server.app import create_app
from bridge.server.webhook_answers import RETRY_AFTER
from tests.unit.server.conftest import PREVIOUS, SECRET, TOKEN, Bridge, settings
from tests.waiting import until

VERSION: dict[str, object] = {"name": "iris", "version": "7", "source": "models:/m-1", "run_id": None, "tags": {}}
ALIAS = {"name": "iris", "version": "7", "alias": "champion"}
TAG = {"name": "iris", "version": "7", "key": "stage", "value": "gold"}


def body(kind: str, data: object, **more: object) -> bytes:
    entity, _, action = kind.partition(".")
    return json.dumps({"entity": entity, "action": action, "timestamp": "t", "data": data, **more}).encode()


CREATED = body("model_version.created", VERSION)


def test_a_version_is_submitted_and_stored_with_its_dispatch(bridge: Bridge) -> None:
    delivery_id = str(uuid4())
    answer = bridge.post(CREATED, delivery_id=delivery_id)
    assert (answer.status_code, answer.json()) == (202, {"status": "submitted", "delivery_id": delivery_id})
    ((dispatch_id, payload),) = bridge.rows("select id, payload from dispatches")
    assert json.loads(payload)["dispatch_id"] == dispatch_id
    assert json.loads(payload)["delivery_id"] == delivery_id
    assert len(dispatch_id) == 26


def test_the_same_delivery_again_is_a_duplicate(bridge: Bridge) -> None:
    delivery_id = str(uuid4())
    bridge.post(CREATED, delivery_id=delivery_id)
    answer = bridge.post(CREATED, delivery_id=delivery_id)
    assert (answer.status_code, answer.json()) == (202, {"status": "duplicate", "delivery_id": delivery_id})
    assert bridge.rows("select count(*) from dispatches") == [(1,)]


@pytest.mark.parametrize(
    "ignored",
    [
        body("model_version_tag.set", TAG),
        body("model_version_tag.set", {**TAG, "key": "image.uri"}),
        body("model_version.created", VERSION, workspace="team-a"),
    ],
)
def test_a_supported_event_that_no_route_matches_is_ignored_and_not_stored(bridge: Bridge, ignored: bytes) -> None:
    answer = bridge.post(ignored)
    assert (answer.status_code, answer.json()["status"]) == (202, "ignored")
    assert bridge.rows("select count(*) from deliveries") == [(0,)]


@pytest.mark.parametrize("event", [WebhookEvent(*pair) for pair in EVENT_TO_PAYLOAD_CLASS], ids=str)
def test_mlflows_test_events_are_answered_and_never_dispatched(bridge: Bridge, event: WebhookEvent) -> None:
    answer = bridge.post(body(str(event), get_example_payload_for_event(event)))
    expected = (200, "test") if str(event) in set(EventKind) else (422, "refused")
    assert (answer.status_code, answer.json()["status"]) == expected
    assert bridge.rows("select count(*) from deliveries") == [(0,)]


def test_both_secrets_are_accepted_during_a_rotation(bridge: Bridge) -> None:
    delivery_id, now = str(uuid4()), int(time.time())
    signature = sign(PREVIOUS, delivery_id, now, CREATED)
    assert bridge.post(CREATED, delivery_id=delivery_id, timestamp=str(now), signature=signature).status_code == 202


TOO_LONG = b"x" * (MAX_BODY + 1)
NO_EVENT = b"{}"
WRONG = f"v1,{'A' * 43}="


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        # Each line is wrong in one more way than the one below it, and is answered for its first.
        ((TOO_LONG, {"delivery_id": "x", "signature": "v1,x", "timestamp": "x"}), 400),
        ((TOO_LONG, {"signature": "v1,x", "timestamp": "1"}), 413),
        ((NO_EVENT, {"signature": "v1,x", "timestamp": "1"}), 401),
        ((NO_EVENT, {"signature": WRONG, "timestamp": "1"}), 401),
        ((NO_EVENT, {"timestamp": "1"}), 400),
        ((NO_EVENT, {}), 422),
        ((body("model_version_tag.deleted", TAG), {}), 422),
        ((body("model_version.created", {**VERSION, "name": "x" * 70_000}), {}), 422),
    ],
)
def test_checks_come_in_the_promised_order(
    bridge: Bridge, wrong: tuple[bytes, dict[str, str | None]], status: int
) -> None:
    sent, headers = wrong
    answer = bridge.post(sent, **headers)
    assert answer.status_code == status
    assert answer.json()["status"] == "refused"
    assert answer.json()["detail"]
    assert bridge.rows("select count(*) from deliveries") == [(0,)]


@pytest.mark.parametrize(("header", "status"), [("delivery_id", 400), ("timestamp", 400), ("signature", 401)])
def test_a_header_that_is_missing_is_refused(bridge: Bridge, header: str, status: int) -> None:
    assert bridge.post(CREATED, **(signed() | {header: None})).status_code == status


@pytest.mark.parametrize("late", [-400, 400])
def test_a_timestamp_that_is_out_of_date_is_refused(bridge: Bridge, late: int) -> None:
    assert bridge.post(CREATED, **signed(late)).status_code == 400


def signed(late: int = 0) -> dict[str, str | None]:
    """Sign as of `late` seconds from now."""
    delivery_id, then = str(uuid4()), int(time.time()) + late
    return {"delivery_id": delivery_id, "signature": sign(SECRET, delivery_id, then, CREATED), "timestamp": str(then)}


def named(headers: Mapping[str, str | None]) -> dict[str, str]:
    """Return MLflow's headers by their names."""
    return {f"X-MLflow-{name.replace('_', '-')}": value for name, value in headers.items() if value is not None}


async def endless() -> AsyncIterator[bytes]:
    for _ in range(64):
        yield b"x" * 65_536


def test_a_header_that_comes_twice_is_refused(bridge: Bridge) -> None:
    delivery_id, now = str(uuid4()), int(time.time())
    headers = [
        (b"X-MLflow-Delivery-Id", delivery_id.encode()),
        (b"X-MLflow-Timestamp", str(now).encode()),
        (b"X-MLflow-Signature", sign(SECRET, delivery_id, now, CREATED).encode()),
    ]
    twice = [*headers, (b"X-MLflow-Signature", b"v1,x")]
    assert bridge.send(CREATED, headers).status_code == 202
    assert bridge.send(CREATED, twice).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"delivery_id": "x"}, 400),
        ({"timestamp": "soon"}, 400),
        ({"signature": None}, 401),
        ({"signature": "v1,x"}, 401),
        ({"signature": WRONG[:-1]}, 401),
    ],
)
def test_a_request_that_its_headers_rule_out_has_its_body_never_read(
    bridge: Bridge, headers: dict[str, str | None], status: int
) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        for _ in range(4):
            read.append(CREATED)
            yield CREATED

    answer = bridge.send(body(), named(signed() | headers))
    assert (answer.status_code, answer.headers["Connection"]) == (status, "close")
    assert read == []


@pytest.mark.parametrize("path", ["/webhook", "/health", "/", "/nowhere", "/openapi.json"])
def test_a_request_whose_end_two_readers_see_differently_is_refused_on_every_path(bridge: Bridge, path: str) -> None:
    headers = named(signed()) | {"Content-Length": "5", "Transfer-Encoding": "chunked"}
    for answer in (bridge.get(path, headers=headers), bridge.send(CREATED, headers, path)):
        assert (answer.status_code, answer.headers["Connection"]) == (400, "close")
    assert bridge.rows("select count(*) from deliveries") == [(0,)]


def test_too_many_headers_are_refused(bridge: Bridge) -> None:
    answer = bridge.get("/health", headers=[(f"X-{number}", "") for number in range(MAX_HEADERS)])
    assert (answer.status_code, answer.headers["Connection"]) == (431, "close")


@pytest.mark.parametrize("path", ["/webhook/", "//webhook", "/health/", "/api/versions/"])
def test_a_path_that_is_none_of_ours_is_not_redirected_to_whatever_host_was_asked_for(
    bridge: Bridge, path: str
) -> None:
    for answer in (bridge.get(path, headers={"Host": "evil.example"}), bridge.send(CREATED, {}, path)):
        assert answer.status_code in (404, 405)
        assert "Location" not in answer.headers


def test_a_body_above_the_budget_is_answered_503_and_a_delivery_of_usual_size_is_still_accepted(
    bridge: Bridge,
) -> None:
    large = body("model_version.created", {**VERSION, "source": "x" * 10_000})
    budget = bridge.state.unverified
    budget.reserve(MAX_UNVERIFIED_BODIES)
    answer = bridge.post(large)
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == str(RETRY_AFTER)
    assert bridge.post(CREATED).status_code == 202


class Gone(Exception):
    """The sender's connection breaks."""


def test_the_budget_is_released_however_a_request_ends(bridge: Bridge) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise Gone

    large = b"x" * 100_000
    bridge.post(large)  # no event
    bridge.send(large, named(signed() | {"signature": WRONG}))
    bridge.send(endless(), named(signed()))
    with pytest.raises(Gone):
        bridge.send(broken(), named(signed()))
    bridge.state.unverified.reserve(MAX_UNVERIFIED_BODIES)


def test_a_body_of_exactly_the_limit_is_read(bridge: Bridge) -> None:
    assert bridge.post(b"x" * MAX_BODY).status_code == 422


def test_a_body_that_announces_no_length_is_read_no_further_than_the_limit(bridge: Bridge) -> None:
    answer = bridge.send(endless(), named(signed()))
    assert answer.status_code == 413
    assert answer.headers["Connection"] == "close"


def test_a_ledger_that_cannot_write_asks_for_a_retry(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise LedgerUnavailable("the disk is full of sentinel-details")

    monkeypatch.setattr(Ledger, "accept", fail)
    answer = bridge.post(CREATED)
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == str(RETRY_AFTER)
    assert "sentinel" not in answer.text


def test_no_answer_and_no_log_line_holds_a_secret_or_signature(
    bridge: Bridge, capsys: pytest.CaptureFixture[str]
) -> None:
    delivery_id, now = str(uuid4()), int(time.time())
    signature = sign(SECRET, delivery_id, now, CREATED)
    answers = [
        bridge.post(CREATED, delivery_id=delivery_id, timestamp=str(now), signature=signature),
        bridge.post(NO_EVENT, signature=signature),
        bridge.post(NO_EVENT),
        bridge.post(CREATED, timestamp="1", signature=signature),
    ]
    output = "".join(answer.text + str(answer.headers) for answer in answers)
    ((dispatch_id,),) = bridge.rows("select id from dispatches")

    def dispatcher_has_logged() -> bool:
        nonlocal output
        output += "".join(capsys.readouterr())
        return dispatch_id in output

    until(dispatcher_has_logged)
    for secret in (SECRET, PREVIOUS, TOKEN, signature.removeprefix("v1,")):
        assert secret not in output


hostile_headers = st.dictionaries(
    st.sampled_from(["X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature", "Content-Type"]),
    st.binary(max_size=80).filter(lambda value: not {0, 10, 13} & set(value))
    | st.sampled_from([str(uuid4()).encode(), b"1700000000", b"v1,AAAA", b"-1", b"9" * 40, b"v1,"]),
)


@examples(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile_headers, st.binary(max_size=300))
def test_nothing_unsigned_gets_in(bridge: Bridge, headers: dict[str, bytes], sent: bytes) -> None:
    answer = bridge.send(sent, [(name.encode(), value) for name, value in headers.items()])
    assert answer.status_code in (400, 401, 413)


def test_the_app_does_nothing_until_it_starts(tmp_path: Path) -> None:
    create_app(settings(tmp_path / "ledger.db"))
    assert list(tmp_path.iterdir()) == []
