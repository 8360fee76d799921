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
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

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
        self._content()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state not in _ARRIVING or self.transport.is_closing():
            self._content()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.seconds, self._cut)

    def _content(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None

    def _cut(self) -> None:
        _log.warning(
            "connection cut", reason=f"its request had not arrived whole after {self.seconds:g} s", peer=self.client
        )
        self.transport.abort()
