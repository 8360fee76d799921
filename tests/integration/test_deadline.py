"""How long a request may take to arrive, over real connections with a deadline of one second."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from bridge.core.limits import MAX_HEADERS
from bridge.server.request_deadline import DeadlineProtocol
from tests.waiting import PATIENCE

HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n"
WHOLE = HEAD + b"x" * 40
LARGE = 64 * 1024 * 1024
"""Bytes; more than the system buffers of an answer that nobody reads."""
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


class Quick(DeadlineProtocol):
    seconds = 1.0


app = FastAPI()


@app.post("/echo")
async def echo(request: Request) -> int:
    return len(await request.body())


@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(3 * Quick.seconds)
    return "done"


@app.get("/large")
async def large() -> Response:
    return Response(b"x" * LARGE)


@app.get("/headers")
async def headers(request: Request) -> int:
    return len(request.scope["headers"])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        server = uvicorn.Server(uvicorn.Config(app, http=Quick, log_config=None, lifespan="off", timeout_keep_alive=60))
        serving = threading.Thread(target=server.run, args=([listening],))
        serving.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        serving.join()


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        yield connection


def test_no_more_connections_are_held_than_memory_allows(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quick, "max_connections", 3)
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) for _ in range(4)]
        with pytest.raises(ConnectionError):
            asked(held[3], WHOLE)
        assert asked(held[2], WHOLE) == "200"
    time.sleep(0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as next_one:
        assert asked(next_one, WHOLE) == "200"


def asked(connection: socket.socket, request: bytes) -> str:
    """Return the status of the complete answer; an empty text if the server closes the connection."""
    connection.sendall(request)
    received = b""
    while not received.endswith((b"\r\n\r\n40", b'"done"')):
        if not (part := connection.recv(65_536)):
            return ""
        received += part
    return received.decode().split()[1]


def is_cut(connection: socket.socket, drip: bytes = b"") -> bool:
    """Send a byte now and then; return whether the server closes the connection."""
    connection.settimeout(0.05)
    end, drops = time.monotonic() + PATIENCE, iter(drip)
    while time.monotonic() < end:
        try:
            if drop := next(drops, None):
                connection.sendall(bytes([drop]))
            if not connection.recv(65_536):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"", WHOLE),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nX: ", b"x" * 1_000),
        (HEAD, b""),
        (HEAD, b"x" * 39),
        (WHOLE + HEAD, b""),
        (WHOLE + b"POST", b"x" * 1_000),
        (HEAD.replace(b"/echo", b"/nowhere"), b"x" * 39),
    ],
    ids=["silence", "bytes", "headers", "no body", "body", "second body", "second head", "body that nobody reads"],
)
def test_a_request_that_does_not_arrive_whole_in_time_loses_its_connection(
    connection: socket.socket, first: bytes, drip: bytes
) -> None:
    connection.sendall(first)
    assert is_cut(connection, drip)


def test_a_connection_that_sends_whole_requests_is_kept_as_long_as_it_does(connection: socket.socket) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 4 * Quick.seconds:
        assert asked(connection, WHOLE) == "200"
        time.sleep(0.3 * Quick.seconds)


def test_an_answer_may_take_longer_than_the_deadline(connection: socket.socket) -> None:
    for _ in range(2):
        assert asked(connection, SLOW) == "200"


@pytest.mark.parametrize("number", [10, MAX_HEADERS, MAX_HEADERS + 1, 3_000])
def test_no_more_headers_are_kept_than_are_needed_to_refuse_them(connection: socket.socket, number: int) -> None:
    connection.sendall(
        b"GET /headers HTTP/1.1\r\nConnection: close\r\nHost: x\r\n" + b"a:\r\n" * (number - 2) + b"\r\n"
    )
    received = b""
    while part := connection.recv(65_536):
        received += part
    assert int(received.split()[-1]) == min(number, MAX_HEADERS + 1)


def test_who_does_not_read_the_answers_to_many_requests_loses_the_connection(connection: socket.socket) -> None:
    connection.sendall(2 * b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(4 * Quick.seconds)
    received = 0
    with suppress(OSError):
        while part := connection.recv(1_048_576):
            received += len(part)
    assert received < LARGE
