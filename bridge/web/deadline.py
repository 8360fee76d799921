"""A deadline for requests: who sends a byte a second doesn't hold a connection for ever.

uvicorn's own time-outs begin after an answer ("Settings", `--timeout-keep-alive`); for a request it waits without end.
"""

import asyncio
from typing import Final

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS: Final = 10.0
"""MLflow sends some hundred bytes at once; the longest body that we take passes in that time at 1 Mbit/s."""

_ARRIVING: Final = (h11.IDLE, h11.SEND_BODY)

_log = structlog.get_logger(__name__)


class DeadlineProtocol(H11Protocol):
    """uvicorn's protocol, which cuts a connection unless a whole request arrives within `seconds`.

    They count from the connection's start, and from each answer on; an answer may take as long as it likes.
    """

    seconds = SECONDS
    _waiting_since: float | None = None
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()
        self._look_after(self.seconds)

    def data_received(self, data: bytes) -> None:
        """Go on waiting, or be content."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, of which a part may be there already."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._look:
            self._look.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state not in _ARRIVING:
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
            "connection cut", reason=f"its request had not arrived whole after {self.seconds:g} s", peer=self.client
        )
        self.transport.abort()
