"""A deadline for requests: who sends a byte a second doesn't hold a connection for ever.

uvicorn's own time-outs begin after an answer ("Settings", `--timeout-keep-alive`); for a request it waits without end.
"""

import asyncio
import socket
from typing import Final

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS: Final = 10.0
"""MLflow sends some hundred bytes at once; the longest body that we take passes in that time at 1 Mbit/s."""

MAX_HEAD: Final = 16 * 1024
"""Bytes of a request's head, two of nginx' "large_client_header_buffers": uvicorn's `h11_max_incomplete_event_size`.

h11 applies it only to incomplete data, so h11 is given at most that many bytes at a time.
"""

MAX_HEADERS: Final = 100
"""MLflow sends about ten, a browser behind a proxy about thirty; each takes a few hundred bytes while it is held."""

MAX_CONNECTIONS: Final = 5_000
"""Each takes some 25 KB while a head of the largest size arrives: together a quarter of what compose gives."""

_UNREAD: Final = 32 * 1024
"""Size of a connection's receive buffer, and so the most that one read returns: a thousand connections may have data
at the same time. A body of the maximum size still arrives in 7 s at a latency of 200 ms.
"""

_ARRIVING: Final = (h11.IDLE, h11.SEND_BODY)

_log = structlog.get_logger(__name__)


class DeadlineProtocol(H11Protocol):
    """uvicorn's protocol, which cuts a connection unless a whole request arrives within `seconds`.

    They count from the start of the connection and from the end of each answer; an answer may take as long as it needs.
    A client that doesn't read its answer for that long is cut off, too.
    """

    seconds = SECONDS
    _waiting_since: float | None = None
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            _log.warning("connection refused", reason=f"there are {MAX_CONNECTIONS} already", peer=self.client)
            transport.abort()
            return
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD)
        self._watch()
        self._look_after(self.seconds)

    def data_received(self, data: bytes) -> None:
        """Update the deadline. At most one header above `MAX_HEADERS` is kept, so that the request is refused."""
        for at in range(0, len(data), MAX_HEAD):
            if self.transport.is_closing():
                return
            super().data_received(data[at : at + MAX_HEAD])
            if self.headers:
                del self.headers[MAX_HEADERS + 1 :]
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, of which a part may be there already."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stop waiting for the client to read."""
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._look:
            self._look.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state not in _ARRIVING and not self.flow.write_paused:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self.loop.time()

    def _look_after(self, seconds: float) -> None:
        """Look then whether the time is over: one look in ten seconds costs less than a timer for each request."""
        self._look = self.loop.call_later(seconds, self._cut_if_late)

    def _cut_if_late(self) -> None:
        waited = 0.0 if self._waiting_since is None else self.loop.time() - self._waiting_since
        if waited < self.seconds:
            self._look_after(self.seconds - waited)
            return
        _log.warning(
            "connection cut",
            reason=f"its request was not complete, or its answer not read, after {self.seconds:g} s",
            peer=self.client,
        )
        self.transport.abort()
