"""A lease: the right to do what only one of all processes on a ledger does at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

from bridge.ledger import Lane, Ledger, LedgerUnavailable, lanes


class Lease:
    """The lease `name`, for `seconds` at a time: a process that freezes for longer loses it. `clock`: the ledger's."""

    def __init__(self, ledger: Ledger, name: str, *, seconds: float, clock: Callable[[], float]) -> None:
        self.holder: Final = str(uuid4())
        self._ledger = ledger
        self._name = name
        self._seconds = seconds
        self._clock = clock

    async def acquire(self) -> Lane | None:
        """Acquire or renew it; None if another process has it."""
        now = self._clock()
        return await self._ledger.write(lanes.acquire, self._name, self.holder, now=now, seconds=self._seconds)

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Renew it, once acquired, for as long as the work within lasts."""
        renewal = asyncio.create_task(self._renew(), name=f"lease of the {self._name}")
        try:
            yield
        finally:
            renewal.cancel()

    async def release(self) -> None:
        """Let another process acquire it at once."""
        await self._ledger.write(lanes.release, self._name, self.holder)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            with suppress(LedgerUnavailable):
                await self.acquire()
