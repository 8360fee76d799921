"""Checks whether the ledger can be written, rarely enough that anyone may ask for the result."""

import asyncio
import math
import time
from typing import Final

from bridge.ledger import Ledger, LedgerUnavailable, bookmarks

INTERVAL: Final = 10.0
"""Seconds between two writes, the same as between two checks of the image's HEALTHCHECK."""


class Probe:
    """Writes at most once every `INTERVAL` seconds, however often it is asked; in between, returns the last result."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._writing = asyncio.Lock()
        self._written_at = -math.inf
        self._problem: LedgerUnavailable | None = None

    async def problem(self) -> LedgerUnavailable | None:
        """Return why the ledger can't be written, or None if it can."""
        async with self._writing:
            if time.monotonic() - self._written_at >= INTERVAL:
                try:
                    await self._ledger.write(
                        bookmarks.write_bookmark, "ready", str(time.time())
                    )  # only a write shows that it works
                    self._problem = None
                except LedgerUnavailable as error:
                    self._problem = error
                self._written_at = time.monotonic()
        return self._problem
