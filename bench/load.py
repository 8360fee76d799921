"""Sends signed deliveries over kept-alive connections, each as soon as the one before it is answered.

It is a separate process with plain sockets, so that it costs little compared with the server; everything is signed
before the clock starts. Prints one JSON object; see `Load`.
"""

import asyncio
import json
import re
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import quantiles
from uuid import uuid4

from bridge.mlflow.signature import sign

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """Answers per second, milliseconds, and the share of one core that the load itself took."""

    per_second: float
    p50: float
    p99: float
    busy: float


class NotAccepted(Exception):
    """An answer wasn't 202 `submitted`, so there is nothing to measure."""


class _Connection(asyncio.Protocol):
    """Sends `requests` one after the other, and records how long each answer took."""

    def __init__(self, requests: Iterator[bytes], seconds: list[float]) -> None:
        self._requests = requests
        self._seconds = seconds
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  narrows the type as asyncio documents it
        self._transport = transport

    def send(self) -> None:
        """Send the next request, or finish."""
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not ended or (length and len(body) < int(length.group(1))):
            return
        self._seconds.append(time.perf_counter() - self._sent_at)
        if not head.startswith(b"HTTP/1.1 202 ") or b'"submitted"' not in body:
            self._transport.close()
            self.done.set_exception(NotAccepted(self._received.decode(errors="replace")))
            return
        self._received = b""
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(NotAccepted(f"the server closed the connection ({exc})"))


def signed(secret: str, count: int) -> list[bytes]:
    """Return that many requests as MLflow sends them, each for another version."""
    now = int(time.time())
    return [_request(secret, number, now) for number in range(count)]


def _request(secret: str, number: int, now: int) -> bytes:
    data: dict[str, object] = {
        "name": "iris clf",
        "version": str(number + 1),
        "source": "models:/m-1",
        "run_id": None,
        "tags": {},
    }
    event = {"entity": "model_version", "action": "created", "timestamp": "2026-01-01T00:00:00", "data": data}
    body, delivery_id = json.dumps(event).encode(), str(uuid4())
    head = (
        "POST /webhook HTTP/1.1\r\nHost: bridge\r\nUser-Agent: python-requests/2.32\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nX-MLflow-Delivery-Id: {delivery_id}\r\n"
        f"X-MLflow-Timestamp: {now}\r\nX-MLflow-Signature: {sign(secret, delivery_id, now, body)}\r\n\r\n"
    )
    return head.encode() + body


async def load(port: int, requests: list[bytes], connections: int) -> Load:
    """Send them all to 127.0.0.1; raises `NotAccepted` unless each one is answered 202 `submitted`."""
    loop, waiting, seconds = asyncio.get_running_loop(), iter(requests), list[float]()
    opened = [
        (await loop.create_connection(lambda: _Connection(waiting, seconds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    started, busy = time.perf_counter(), _busy()
    for connection in opened:
        connection.send()
    await asyncio.gather(*(connection.done for connection in opened))
    elapsed = time.perf_counter() - started
    percent = quantiles(seconds, n=100)
    return Load(len(seconds) / elapsed, percent[49] * 1000, percent[98] * 1000, (_busy() - busy) / elapsed)


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    port, secret, count, connections = sys.argv[1:]
    print(json.dumps(asdict(asyncio.run(load(int(port), signed(secret, int(count)), int(connections))))))
