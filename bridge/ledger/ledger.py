"""The ledger as the rest of the bridge sees it: asynchronous, and on two threads of its own.

One writes, so that writes follow each other; the other reads what has been committed, so that a long look delays no
delivery. Callers on the event loop only wait and never block it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa

from bridge.core.dispatches import Decision, OpenDispatch, RunObservation
from bridge.core.events import EventKind
from bridge.ledger import accept as acceptance
from bridge.ledger import errors, lanes, queries, replaying, runs, versions
from bridge.ledger.accept import Entry, Outcome, SharedCommits
from bridge.ledger.database import Database
from bridge.ledger.records import (
    LANE,
    Accepted,
    Delivery,
    DeliveryDetails,
    Dispatch,
    Duplicate,
    Figures,
    Filter,
    Lane,
    LastDelivery,
    Pending,
    ResultPage,
    VersionSummary,
)

LEASE: Final = 5.0
"""Seconds for which a lane is held, unless it is taken again; so long may nothing be sent after its holder died."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Ledger:
    """One database. `start` before anything else, `close` at the end.

    Every method raises `LedgerUnavailable` if the database fails, and `Unstorable` if a value can't be stored.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-writer")
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-reader")
        self._commits = SharedCommits(self._accept, self._writer)

    def time(self) -> float:
        """Give the time on which all that share the ledger agree, whatever their own clocks say."""
        return self._database.time()

    async def start(self) -> None:
        """Bring the schema up to date; raises `LedgerTooNew` where a later release made it."""
        await self._in(self._writer, self._database.migrate)

    async def close(self) -> None:
        """Let go of the database, once what was asked before is done."""
        await self._commits.finish()
        for thread in (self._reader, self._writer):
            await asyncio.to_thread(thread.shutdown)
        self._database.close()  # a connection that were still in use would be left open

    async def accept(self, delivery: Delivery, dispatches: Sequence[Dispatch]) -> Accepted | Duplicate:
        """Write down the delivery with its dispatches, all or nothing; a known id changes nothing."""
        return await self._commits.add((delivery, dispatches))

    async def lane(self, name: str = LANE) -> Lane:
        """Give the lane as it is now; fails where the ledger can't be written, too."""
        return await self._write(lanes.lane, name)

    async def take(self, lease: str, holder: str, *, now: float, seconds: float) -> Lane | None:
        """Take or keep a lease for `seconds` more; None where somebody else holds it."""
        return await self._write(lanes.take, lease, holder, now, seconds)

    async def release(self, lease: str, holder: str) -> None:
        """Give the lease back, so that others needn't wait for its end."""
        await self._write(lanes.release, lease, holder)

    async def paused(self) -> dict[str, str]:
        """Give why which lane is paused; a repository that GitHub doesn't let us into is paused by its own name."""
        return await self._read(lanes.paused)

    async def next_pending(self, lane: str = LANE, *, now: float) -> Pending | None:
        """Give the dispatch that is due first on the lane, be it now or later, but for those of paused repositories."""
        return await self._read(lanes.next_pending, lane, now)

    async def begin_sending(self, seen: Pending, holder: str, *, now: float, settle: float) -> Pending | None:
        """Write down, before a request leaves, that GitHub may get to see it; give the dispatch as it is then.

        None where it is no longer as seen, or `holder` no longer holds the lane: then it is not to be sent. Where
        nothing is written after that (a crash), the dispatch is due again `settle` seconds later.
        """
        return await self._write(lanes.begin_sending, seen, holder, now, settle, LEASE)

    async def settle(self, seen: Pending, decision: Decision, holder: str, *, now: float, lane_next_at: float) -> bool:
        """Write what became of the dispatch; nothing of its lane goes out before `lane_next_at`, or the pause's end.

        False, and nothing has changed, where it is no longer as seen or `holder` no longer holds the lane.
        """
        return await self._write(lanes.settle, seen, decision, holder, now, lane_next_at)

    async def open_dispatches(self, *, now: float) -> list[OpenDispatch]:
        """Give what is sent or running, and what failed, was cancelled or unseen at most 7 days ago; oldest first."""
        return await self._read(runs.open_dispatches, now)

    async def settle_run(self, dispatch_id: str, seen: RunObservation) -> RunObservation | None:
        """Write down what a run was seen to be, and give what was written, or None where that changed nothing.

        An older look undoes no newer one; nothing becomes `unseen` whose run was seen; what succeeded stays so. A run
        that was cancelled is `superseded` where a newer dispatch for its model was sent to the same repository.
        """
        return await self._write(runs.settle_run, dispatch_id, seen)

    async def write_image(self, model: str, version: str, uri: str | None, status: str | None, *, now: float) -> None:
        """Keep what MLflow's `image.*` tags said of a version at `now`; an older reading undoes no newer one."""
        await self._write(runs.write_image, model, version, uri, status, now)

    async def last_told(
        self, kind: EventKind, model: str, *, version: str | None = None, alias: str | None = None
    ) -> LastDelivery | None:
        """Give the newest delivery of that kind for the model, and for the version or alias where one is given."""
        return await self._read(runs.last_told, kind, model, version, alias)

    async def bookmark(self, name: str) -> str | None:
        """Give what a loop wrote down under that name, if ever."""
        return await self._read(runs.bookmark, name)

    async def write_bookmark(self, name: str, text: str) -> None:
        """Keep a text under a name, instead of the last one."""
        await self._write(runs.write_bookmark, name, text)

    async def figures(self, *, now: float) -> Figures:
        """Give what metrics tell of the ledger."""
        return await self._read(runs.figures, now)

    async def listed(self, wanted: Filter) -> ResultPage[VersionSummary]:
        """Give the versions that are wanted, those first that were last told of or replayed."""
        return await self._read(queries.listed, wanted)

    async def version(self, model: str, version: str) -> tuple[VersionSummary, list[DeliveryDetails]] | None:
        """Give the version, and its newest deliveries with all that became of them; None where nothing told of it."""
        return await self._read(_version, model, version)

    async def told(self, wanted: Filter) -> ResultPage[DeliveryDetails]:
        """Give the deliveries that are wanted, those first that came or were replayed last."""
        return await self._read(queries.told, wanted)

    async def story(self, delivery_id: str) -> DeliveryDetails | None:
        """Give the delivery with all that became of it."""
        return await self._read(queries.story, delivery_id)

    async def replay(self, delivery_id: str, dispatches: Sequence[Dispatch], *, now: float) -> None:
        """Write down more dispatches for a delivery that is there."""
        await self._write(replaying.replay, delivery_id, dispatches, now)

    async def _write(
        self, work: Callable[Concatenate[sa.Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        def commit() -> _R:
            with self._database.writing() as connection:
                return work(connection, *args, **kwargs)

        return await self._in(self._writer, commit)

    async def _read(
        self, work: Callable[Concatenate[sa.Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        def look() -> _R:
            with self._database.reading() as connection:
                return work(connection, *args, **kwargs)

        return await self._in(self._reader, look)

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], _R]) -> _R:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except Exception as error:
            ours = errors.translated(error, self._database.hint)
            if ours is error:
                raise
            raise ours from error

    def _accept(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        """Write all in one commit; each for itself where one is known already or can't be written."""
        try:
            with self._database.writing() as connection:
                outcomes = acceptance.accept_all(connection, entries)
                versions.accepted(connection, entries)
                return outcomes
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            return [self._translated(error) for _ in entries]
        except Exception:
            return self._accept_each(entries)

    def _accept_each(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        try:
            with self._database.writing() as connection:
                outcomes = acceptance.accept_each(connection, entries, self._translated)
                new = [one for one, outcome in zip(entries, outcomes, strict=True) if isinstance(outcome, Accepted)]
                versions.accepted(connection, new)
                return outcomes
        except Exception as error:
            return [self._translated(error) for _ in entries]

    def _translated(self, error: Exception) -> Exception:
        ours = errors.translated(error, self._database.hint)
        if ours is not error:
            ours.__cause__ = error
        return ours


def _version(
    connection: sa.Connection, model: str, version: str
) -> tuple[VersionSummary, list[DeliveryDetails]] | None:
    row = queries.version(connection, model, version)
    return (row, queries.stories(connection, model, version)) if row else None
