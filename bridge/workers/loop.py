"""A background loop: one step after another, until it is stopped."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import ClassVar, Final

import structlog

from bridge.ledger import LedgerUnavailable

_AFTER_FAILURE: Final = 5.0
"""Seconds before a loop continues after a failure of the ledger or of its own code."""

_FAILING: Final = 3
"""Failed steps in a row after which the loop counts as failing."""

_log = structlog.get_logger(__name__)


class Loop(ABC):
    """Repeats `step`; no failure ends it, only `stop` does."""

    name: ClassVar[str]
    """Its name in logs, in `/ready`, and of its lease."""

    def __init__(self) -> None:
        self.running = False
        self.stopping = False
        self._failed_steps = 0
        self._woken = asyncio.Event()

    @property
    def failing(self) -> bool:
        """Whether the last steps have all failed."""
        return self._failed_steps >= _FAILING

    @abstractmethod
    async def step(self) -> float:
        """Do what is due, and return the seconds until there may be more to do."""

    async def end(self) -> None:  # noqa: B027  most have nothing to release
        """Release what is held, at the loop's end."""

    def wake(self) -> None:
        """Do the next step at once."""
        self._woken.set()

    def stop(self) -> None:
        """End `run` as soon as the step that is under way is over."""
        self.stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Step until `stop`; a failure only delays the next one."""
        self.running = True
        try:
            while not self.stopping:
                self._woken.clear()
                await self._sleep(await self._guarded_step())
        finally:
            self.running = False
            with suppress(LedgerUnavailable):
                await self.end()

    async def _guarded_step(self) -> float:
        try:
            wait = await self.step()
        except LedgerUnavailable as error:
            _log.error("loop is waiting for the ledger", loop=self.name, reason=str(error))
        except Exception:
            _log.exception("unexpected error in loop, will retry", loop=self.name)
        else:
            self._failed_steps = 0
            return wait
        self._failed_steps += 1
        return _AFTER_FAILURE

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0 and not self.stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), seconds)
