"""A deadline for requests: a client that sends one byte a second can't hold a connection for ever.

Without it tests/integration/test_deadline.py fails: uvicorn's own timeouts begin after an answer ("Settings",
`--timeout-keep-alive`), and it waits for a request without end.
"""

import asyncio
import socket
from typing import Final

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from bridge.core.limits import MAX_CONNECTIONS, MAX_HEAD, MAX_HEADERS, RECEIVE_BUFFER

SECONDS: Final = 10.0
"""MLflow sends a delivery at once; the largest body takes 8 s at 1 Mbit/s."""

_ARRIVING: Final = (h11.IDLE, h11.SEND_BODY)

_log = structlog.get_logger(__name__)


class DeadlineProtocol(H11Protocol):
    """uvicorn's protocol, which also closes a connection unless a whole request arrives within `seconds`.

    The time counts from the start of the connection and from the end of each answer; an answer may take as long as it
    needs. A client that doesn't read its answer for that long is disconnected as well.
    """

    seconds = SECONDS
    max_connections = MAX_CONNECTIONS
    _waiting_since: float | None = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            _log.warning(
                "connection refused", reason=f"{self.max_connections} connections are open already", peer=self.client
            )
            transport.abort()
            return
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._update()
        self._check_after(self.seconds)

    def data_received(self, data: bytes) -> None:
        """Update the deadline. At most one header above `MAX_HEADERS` is kept, so that the request is refused."""
        # h11 applies its own limit, `h11_max_incomplete_event_size`, only to incomplete data: so it gets small pieces.
        for at in range(0, len(data), MAX_HEAD):
            if self.transport.is_closing():
                return
            super().data_received(data[at : at + MAX_HEAD])
            if self.headers:
                del self.headers[MAX_HEADERS + 1 :]
        self._update()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request; part of it may have arrived already."""
        super().on_response_complete()
        self._update()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._update()

    def resume_writing(self) -> None:
        """Stop waiting for the client to read."""
        super().resume_writing()
        self._update()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def _update(self) -> None:
        if self.conn.their_state not in _ARRIVING and not self.flow.write_paused:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self.loop.time()

    def _check_after(self, seconds: float) -> None:
        # One check in ten seconds costs less than a timer for each request.
        self._timer = self.loop.call_later(seconds, self._close_if_late)

    def _close_if_late(self) -> None:
        waited = 0.0 if self._waiting_since is None else self.loop.time() - self._waiting_since
        if waited < self.seconds:
            self._check_after(self.seconds - waited)
            return
        _log.warning(
            "connection closed",
            reason=f"the request was not complete, or the response was not read, after {self.seconds:g} s",
            peer=self.client,
        )
        self.transport.abort()
