"""Signed deliveries that somebody with the webhook's secret has mutated: every one is refused or accepted, none breaks.

They come several at a time, so that bad ones share their commits with good ones.
"""

import json
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx2

from bridge.mlflow.signature import sign
from tests.integration.conftest import REPOSITORY, SECRET, TOKEN
from tests.integration.deliveries import ALIAS, TAG, VALID, VERSION, body, mutated, rows_of
from tests.loopback.github.limits import Limits
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer

SENDERS: Final = 8

TEXTS: Final = (
    *("a\0b", "\0", "\ud800", "a\udfffb", "\x1b[2J\r\n", "\u202e模\ufeff", "\N{GRINNING FACE}" * 300, "x" * 1_201),
    *("é" * 601, "x" * 200_000, "1" * 5_000, "9223372036854775808", "١", " 1", "1\n", "-1", "..", "image.uri"),
)
NO_TEXTS: Final[tuple[object, ...]] = (None, True, 10**400, -(10**30), 1.5, float("nan"), float("inf"), [], {}, [[]])
VALUES: Final[tuple[object, ...]] = (*TEXTS, *TEXTS, *NO_TEXTS)
RAW: Final = ("9" * 6_000, "1e999999", "[" * 5_000 + "]" * 5_000, '{"a":' * 5_000 + "1" + "}" * 5_000, "NaN", "01")
"""JSON, or nearly, that `json.dumps` would not write."""


@dataclass(frozen=True)
class Findings:
    """What came of them; `peak` is the most memory that the process ever had, in KiB."""

    statuses: Mapping[int, int]
    submitted: int
    stored: int
    tracebacks: int
    degraded: tuple[str, ...]
    peak: int
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether nothing broke, and everything accepted is stored."""
        answered = all(status == 0 or 200 <= status < 500 for status in self.statuses)
        return answered and not self.tracebacks and not self.degraded and 0 < self.submitted == self.stored


def prove(count: int, folder: Path, database: str, *, seed: int = 1) -> Findings:
    """Send `count` of them to a bridge on that database."""
    limits = Limits(requests_an_hour=10**7, content_a_minute=10**7, content_an_hour=10**7)
    tree = Path(__file__).parents[2]
    with LoopbackGitHub(
        repository=REPOSITORY, tree=tree, token=TOKEN, folder=folder / "github", limits=limits
    ) as github:
        environment = {
            "MLFLOW_WEBHOOK_SECRET": SECRET,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": github.url,
            "GITHUB_DISPATCH_INTERVAL": "0",
            "DATABASE_URL": database,
        }
        with BridgeServer(environment, folder / "bridge") as bridge:
            began = time.monotonic()
            port = httpx2.URL(bridge.url).port or 0
            with ThreadPoolExecutor(SENDERS) as senders:
                answers = list(senders.map(lambda number: _send(port, seed, number), range(count)))
            seconds = time.monotonic() - began
            return Findings(
                statuses=Counter(status for status, _ in answers),
                submitted=sum(b'"submitted"' in answer for _, answer in answers),
                stored=rows_of(database, "select count(*) from deliveries")[0][0],
                tracebacks=bridge.log.read_text(errors="replace").count("Traceback"),
                degraded=tuple(httpx2.get(f"{bridge.url}/ready", trust_env=False, timeout=30).json()["degraded"]),
                peak=int(Path(f"/proc/{bridge.pid}/status").read_text().split("VmHWM:")[1].split()[0]),
                seconds=seconds,
            )


def _send(port: int, seed: int, number: int) -> tuple[int, bytes]:
    """Send one, and give status and body of the answer; 0 where it was refused before it had been read, and cut off."""
    chance = random.Random(f"{seed} {number}")  # noqa: S311  repeatable is what is wanted
    sent = _body(chance)
    headers = _headers(chance, sent)
    head = b"".join(b"%b: %b\r\n" % header for header in headers)
    request = b"POST /webhook HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\n" + head + b"\r\n" + sent
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, suppress(ConnectionError):
        connection.sendall(request)
        while part := connection.recv(65_536):
            answer += part
    status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/1.1 ") else b"0"
    return int(status), answer.partition(b"\r\n\r\n")[2]


def _body(chance: random.Random) -> bytes:
    change: Callable[[random.Random], bytes] = chance.choice(
        [_value, _value, _value, _raw, _keys, _more, _bytes, mutated, lambda chance: chance.choice(VALID)]
    )
    return change(chance)


def _event(chance: random.Random) -> tuple[str, dict[str, Any]]:
    events: list[tuple[str, Mapping[str, Any]]] = [
        ("model_version.created", VERSION),
        ("model_version_alias.created", ALIAS),
        ("model_version_tag.set", TAG),
    ]
    kind, data = chance.choice(events)
    return kind, dict(data)


def _value(chance: random.Random) -> bytes:
    kind, data = _event(chance)
    for name in chance.sample(list(data), chance.randrange(1, 3)):
        data[name] = chance.choice(VALUES)
    return body(kind, data)


def _raw(chance: random.Random) -> bytes:
    kind, data = _event(chance)
    data[chance.choice(list(data))] = "HERE"
    return body(kind, data).replace(b'"HERE"', chance.choice(RAW).encode())


def _keys(chance: random.Random) -> bytes:
    """Name a field twice, by another text or value."""
    kind, data = _event(chance)
    name = chance.choice(list(data))
    twice = f'"data": {{{json.dumps(name)}: {json.dumps(chance.choice(VALUES))}, '
    return body(kind, data).replace(b'"data": {', twice.encode())


def _more(chance: random.Random) -> bytes:
    kind, data = _event(chance)
    many = {chance.choice(TEXTS) + str(number): chance.choice(VALUES) for number in range(chance.choice([1, 3, 500]))}
    more = {"workspace": chance.choice(VALUES)} if chance.random() < 0.5 else {}
    return body(kind, data | many, **more)[: 1024 * 1024 + 10]


def _bytes(chance: random.Random) -> bytes:
    text = chance.choice(VALID).decode()
    return chance.choice(
        [
            text.encode("utf-16"),
            text.encode("utf-8-sig"),
            text.encode()[: chance.randrange(len(text))],
            text.encode().replace(b"7", b"\xff\xfe"),
            text.encode().replace(b"7", b"\xed\xa0\x80"),
            text.encode().replace(b"7", b"\0"),
            b"",
            b"\0" * 1000,
            chance.randbytes(1000),
            b"[" * 100_000,
        ]
    )


def _headers(chance: random.Random, sent: bytes) -> list[tuple[bytes, bytes]]:
    delivery_id, now = str(UUID(int=chance.getrandbits(128))), int(time.time())
    headers = [
        (b"Content-Length", str(len(sent)).encode()),
        (b"X-MLflow-Delivery-Id", delivery_id.encode()),
        (b"X-MLflow-Timestamp", str(now).encode()),
        (b"X-MLflow-Signature", sign(SECRET, delivery_id, now, sent).encode()),
    ]
    if chance.random() < 0.8:
        return headers
    at = chance.randrange(1, 4)
    name, value = headers[at]
    odd = [b"", b"\0", b"\xff\xfe", value.upper(), value + b" ", value * 2, b"9" * 6_000, b"-1", value + b"\tx", b"v1,"]
    headers[at] = name, chance.choice(odd)
    return headers if chance.random() < 0.7 else [*headers, (name, value)]
