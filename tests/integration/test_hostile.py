"""What a stranger, or a malicious sender that knows the secret, can do to a real bridge process."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx2

from tests.integration.deliveries import VALID, hostile, is_to_be_dispatched, mutated, post, rows, signed
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer
from tests.waiting import until

ROUNDS = 1_000
LIMIT = 100 * 1024
"""KiB that the serving process may take."""


def memory(bridge: BridgeServer) -> int:
    """Return the largest resident memory of the process so far, in KiB."""
    status = Path(f"/proc/{bridge.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_hostile_requests_without_a_signature_are_all_refused(bridge: BridgeServer, github: LoopbackGitHub) -> None:
    chance, answered = random.Random(1), Counter[int]()  # noqa: S311  it has to be repeatable
    with httpx2.Client(base_url=bridge.url, trust_env=False) as client:
        for _ in range(ROUNDS):
            sent, headers = hostile(chance)
            answered[client.post("/webhook", content=sent, headers=headers).status_code] += 1
    print(f"unsigned: {dict(answered)}, {memory(bridge)} KiB")
    assert set(answered) == {400, 401, 413}
    assert rows(bridge.folder, "select count(*) from deliveries") == [(0,)]
    assert github.dispatches == ()
    assert memory(bridge) < LIMIT


def test_signed_mutations_dispatch_only_what_is_a_valid_event(bridge: BridgeServer, github: LoopbackGitHub) -> None:
    chance, answered, accepted = random.Random(2), Counter[int](), set[str]()  # noqa: S311  likewise
    with httpx2.Client(base_url=bridge.url, trust_env=False) as client:
        for _ in range(ROUNDS):
            sent, delivery_id = mutated(chance), str(uuid4())
            answer = client.post("/webhook", content=sent, headers=signed(sent, delivery_id))
            answered[answer.status_code] += 1
            if answer.json()["status"] == "submitted":
                assert is_to_be_dispatched(sent), sent
                accepted.add(delivery_id)
    until(lambda: len(github.dispatches) >= len(accepted))
    print(f"signed: {dict(answered)}, {len(accepted)} dispatched, {memory(bridge)} KiB")
    assert set(answered) <= {200, 202, 422}
    assert len(accepted) > ROUNDS / 10
    assert answered[422] > ROUNDS / 10
    assert {sent.client_payload["delivery_id"] for sent in github.dispatches} == accepted
    assert len(github.dispatches) == len(accepted)
    assert memory(bridge) < LIMIT


def test_a_body_without_an_end_is_refused_before_it_ends(bridge: BridgeServer) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 * 1024 * 1024:
            sent += 65_536
            yield b"x" * 65_536

    answer = httpx2.post(f"{bridge.url}/webhook", content=endless(), headers=signed(b"x"), trust_env=False)
    assert answer.status_code == 413
    assert sent < 16 * 1024 * 1024
    assert memory(bridge) < LIMIT


def test_a_sender_that_goes_away_leaves_the_bridge_as_it_was(bridge: BridgeServer) -> None:
    class Gone(Exception):
        pass

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise Gone

    for _ in range(5):
        try:
            httpx2.post(f"{bridge.url}/webhook", content=broken(), headers=signed(b"x"), trust_env=False)
        except Gone:
            continue
    until(lambda: bridge.log.read_text().count("BodyCutOff") == 5)
    assert post(bridge.url, VALID[0]).status_code == 202
    assert "Traceback" not in bridge.log.read_text()
