"""The right to do what only one of all processes on a ledger does at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

from bridge.ledger import Lane, Ledger, LedgerUnavailable


class Lease:
    """The lease `name`, for `seconds` at a time; who was frozen for longer has lost it. `clock` is the ledger's."""

    def __init__(self, ledger: Ledger, name: str, *, seconds: float, clock: Callable[[], float]) -> None:
        self.holder: Final = str(uuid4())
        self._ledger = ledger
        self._name = name
        self._seconds = seconds
        self._clock = clock

    async def take(self) -> Lane | None:
        """Take it or keep it; None where another process has it."""
        return await self._ledger.take(self._name, self.holder, now=self._clock(), seconds=self._seconds)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep it, once it was taken, for as long as the work within lasts."""
        renewal = asyncio.create_task(self._renew(), name=f"lease of the {self._name}")
        try:
            yield
        finally:
            renewal.cancel()

    async def release(self) -> None:
        """Let another process have it at once."""
        await self._ledger.release(self._name, self.holder)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            with suppress(LedgerUnavailable):
                await self.take()
