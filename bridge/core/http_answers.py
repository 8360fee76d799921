"""Reads a whole HTTP answer within limits of size and time.

A slow or hostile server can then neither fill the memory nor block a loop.
"""

import asyncio
import socket
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx2
from httpcore2 import NetworkStream

from bridge.core.errors import BridgeError
from bridge.core.limits import MAX_ANSWER

SECONDS: Final = 30.0
"""Limit of a whole call, from the connection to the answer's last byte. GitHub itself ends a request after 10 s."""


def no_cookies() -> CookieJar:
    """Return a cookie jar that stays empty: a usual one would grow with every answer and be sent with every request."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


class AnswerUnreadable(BridgeError):
    """An answer arrived, at least in part, but it can't be read. The message is a clause without a hint."""


class AnswerTooLarge(AnswerUnreadable):
    """The answer is larger than the limit."""


class AnswerTooSlow(AnswerUnreadable):
    """The answer was not complete in time."""


async def ask(
    client: httpx2.AsyncClient, request: httpx2.Request, *, seconds: float = SECONDS, max_bytes: int = MAX_ANSWER
) -> httpx2.Response:
    """Send the request and return the whole answer; raises `AnswerUnreadable` and `httpx2.HTTPError`."""
    request.headers["Accept-Encoding"] = "gzip"
    try:
        async with asyncio.timeout(seconds):
            response = await client.send(request, stream=True)
            try:
                content = _Content(response, max_bytes)
                async for chunk in response.aiter_raw():
                    content.add(chunk)
            finally:
                await response.aclose()
    except TimeoutError as error:
        raise _too_slow(seconds) from error
    except OSError as error:  # httpx2 doesn't wrap a TLS error in the middle of an answer
        raise AnswerUnreadable(f"the response was cut off: {type(error).__name__}") from error
    return content.whole()


def ask_blocking(
    client: httpx2.Client, request: httpx2.Request, *, seconds: float = SECONDS, max_bytes: int = MAX_ANSWER
) -> httpx2.Response:
    """Do the same as `ask` in the caller's thread. The client must not keep connections alive: see `_Connection`."""
    request.headers["Accept-Encoding"] = "gzip"
    connection = _Connection()
    request.extensions["trace"] = connection.note
    timer = threading.Timer(seconds, connection.cut)
    timer.daemon = True
    timer.start()
    try:
        response = client.send(request, stream=True)
        try:
            content = _Content(response, max_bytes)
            for chunk in response.iter_raw():
                content.add(chunk)
        finally:
            response.close()
    except httpx2.HTTPError as error:
        if connection.is_cut:
            raise _too_slow(seconds) from error
        raise
    finally:
        timer.cancel()
    if connection.is_cut:  # the cut may have looked like the end of the answer
        raise _too_slow(seconds)
    return content.whole()


class _Connection:
    """The connection of one request, which another thread can cut: httpx2's own timeouts restart with every byte.

    It comes from httpx2's extension `trace`, which only reports new connections.
    """

    def __init__(self) -> None:
        self.is_cut = False
        self._socket: socket.socket | None = None

    def note(self, _event: str, info: Mapping[str, Any]) -> None:
        """Keep the newest socket: the one of TLS replaces the one of TCP."""
        stream = info.get("return_value")
        if isinstance(stream, NetworkStream):
            self._socket = stream.get_extra_info("socket")
            if self.is_cut:
                self.cut()

    def cut(self) -> None:
        """Cut the connection, now or as soon as there is one."""
        self.is_cut = True
        if self._socket is not None:
            with suppress(OSError):  # already closed
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # SSLSocket.shutdown would continue without TLS


class _Content:
    """The body of an answer, as far as it has arrived."""

    def __init__(self, response: httpx2.Response, max_bytes: int) -> None:
        self._response = response
        self._max_bytes = max_bytes
        self._received = 0
        self._bytes = bytearray()
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise AnswerUnreadable("the response has an encoding that was not requested")
        self._gzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None

    def add(self, chunk: bytes) -> None:
        """Append bytes as they arrived; raises `AnswerUnreadable`."""
        self._received += len(chunk)
        if self._gzip and self._gzip.eof:
            raise AnswerUnreadable("the response has data after its end")
        try:
            self._bytes += self._gzip.decompress(chunk, self._max_bytes + 1 - len(self._bytes)) if self._gzip else chunk
        except zlib.error as error:
            raise AnswerUnreadable("the response can't be decompressed") from error
        if max(self._received, len(self._bytes)) > self._max_bytes:
            raise AnswerTooLarge(f"the response is larger than {self._max_bytes:,} bytes")

    def whole(self) -> httpx2.Response:
        """Return the answer with its body decompressed."""
        if self._gzip and self._received and not self._gzip.eof:
            raise AnswerUnreadable("the response can't be decompressed")
        answer = self._response
        headers = [(name, value) for name, value in answer.headers.raw if name.lower() not in _TRANSPORT_HEADERS]
        return httpx2.Response(answer.status_code, headers=headers, content=bytes(self._bytes), request=answer.request)


_TRANSPORT_HEADERS: Final = (b"content-encoding", b"content-length", b"transfer-encoding")


def _too_slow(seconds: float) -> AnswerTooSlow:
    return AnswerTooSlow(f"no complete response within {seconds:g} s")
