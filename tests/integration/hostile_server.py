"""A server on 127.0.0.1 whose answers never end, or expand a thousandfold on decompression."""

import socketserver
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

MEBIBYTE = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def bomb(_stop: threading.Event) -> Iterator[bytes]:
    """1 GiB of zeros, which is 1 MiB compressed."""
    packer = zlib.compressobj(1, wbits=31)
    yield HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
    for _ in range(1024):
        yield packer.compress(bytes(MEBIBYTE))
    yield packer.flush()


def endless(stop: threading.Event) -> Iterator[bytes]:
    yield HEAD + b"Connection: close\r\n\r\n"
    while not stop.is_set():
        yield b" " * MEBIBYTE


def packed_endless(stop: threading.Event) -> Iterator[bytes]:
    """Blocks of no bytes: there is never a byte of content, and never an end."""
    yield HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + zlib.compressobj(wbits=31).flush()[:10]
    while not stop.is_set():
        yield b"\0\0\0\xff\xff" * 65_536


def more_than_packed(stop: threading.Event) -> Iterator[bytes]:
    """Endless bytes after the end of the compressed data."""
    packer = zlib.compressobj(wbits=31)
    yield HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + packer.compress(b"{}") + packer.flush()
    while not stop.is_set():
        yield bytes(MEBIBYTE)


def brotli(_stop: threading.Event) -> Iterator[bytes]:
    yield HEAD + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}"


def dripping_body(stop: threading.Event) -> Iterator[bytes]:
    yield HEAD + b"Content-Length: 1000000\r\n\r\n"
    while not stop.wait(0.02):
        yield b" "


def dripping_body_without_a_length(stop: threading.Event) -> Iterator[bytes]:
    yield HEAD + b"Connection: close\r\n\r\n{}"
    while not stop.wait(0.02):
        yield b" "


def dripping_headers(stop: threading.Event) -> Iterator[bytes]:
    yield HEAD + b"X: "
    while not stop.wait(0.02):
        yield b"x"


def silent(stop: threading.Event) -> Iterator[bytes]:
    stop.wait()
    yield b""


Answer = Callable[[threading.Event], Iterator[bytes]]

TOO_LARGE: list[Answer] = [bomb, endless, packed_endless]
UNREADABLE: list[Answer] = [more_than_packed, brotli]
TOO_SLOW: list[Answer] = [dripping_body, dripping_body_without_a_length, dripping_headers, silent]


class Served:
    """The server's address and its requests; `answers` by the start of the request."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.requests: list[str] = []
        self.url = ""


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[Served]:
    """Serve until `with` is left; the longest matching start of `METHOD /path` decides."""
    served, stop = Served(answers), threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                request = self._request()
                served.requests.append(request)
                start = max((start for start in served.answers if request.startswith(start)), key=len)
                for part in served.answers[start](stop):
                    self.request.sendall(part)

        def _request(self) -> str:
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.request.recv(65_536)
            return head.partition(b"\r\n")[0].decode()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            stop.set()
            server.shutdown()
            thread.join()
            time.sleep(0.05)  # for answers in progress to see the event


def plain(content: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """Return an ordinary answer."""
    more = "".join(f"{header}\r\n" for header in headers)
    head = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return lambda _stop: iter([head.encode() + content])
