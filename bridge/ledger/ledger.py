"""The ledger as the rest of the bridge uses it: asynchronous, with one thread that writes and one that reads."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from bridge.ledger import errors
from bridge.ledger.accept import SharedCommits
from bridge.ledger.database import Database
from bridge.ledger.records import Accepted, Delivery, Dispatch, Duplicate

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Ledger:
    """One database. `start` before anything else, `close` at the end.

    What can be read and written are the functions of the modules beside this one, called without their connection:
    `await ledger.read(queries.find_delivery, id)`, `await ledger.write(lanes.release, LANE, holder)`. One thread
    writes, so that writes follow each other; another reads what has been committed, so that a long query delays no
    delivery. The event loop is never blocked.

    Every method raises `LedgerUnavailable` if the database fails, and `Unstorable` if a value can't be stored.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-writer")
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-reader")
        self._commits = SharedCommits(self._database, self._writer)

    def time(self) -> float:
        """Return the time on which all processes on this ledger agree; known once the database has been asked."""
        return self._database.time()

    async def start(self) -> None:
        """Bring the schema up to date; raises `LedgerTooNew` if a later release made it."""
        await self._run(self._writer, self._database.migrate)

    async def close(self) -> None:
        """Close the database, once everything that was asked of it before is done."""
        await self._commits.finish()
        for thread in (self._reader, self._writer):
            await asyncio.to_thread(thread.shutdown)
        self._database.close()  # by now no thread uses a connection, which would stay open

    async def accept(self, delivery: Delivery, dispatches: Sequence[Dispatch]) -> Accepted | Duplicate:
        """Write the delivery with its dispatches, all or nothing; a known id changes nothing."""
        return await self._commits.add((delivery, dispatches))

    async def write(
        self, work: Callable[Concatenate[sa.Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """Call `work` in a new transaction; its writes are on the disk when this returns."""
        return await self._run(self._writer, lambda: _within(self._database.writing(), work, *args, **kwargs))

    async def read(self, work: Callable[Concatenate[sa.Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call `work`, which only reads, in a transaction that waits for no writer."""
        return await self._run(self._reader, lambda: _within(self._database.reading(), work, *args, **kwargs))

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[], _R]) -> _R:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except Exception as error:
            ledger_error = errors.translated(error, self._database.hint)
            if ledger_error is error:
                raise
            raise ledger_error from error


def _within(
    transaction: AbstractContextManager[sa.Connection],
    work: Callable[Concatenate[sa.Connection, _P], _R],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _R:
    with transaction as connection:
        return work(connection, *args, **kwargs)
