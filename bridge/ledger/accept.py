"""Storing deliveries: those that arrive together share one durable commit; and replaying a known one."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from bridge.core.dispatches import DispatchState
from bridge.ledger import versions
from bridge.ledger.database import Database, insert
from bridge.ledger.errors import translated
from bridge.ledger.records import Accepted, Delivery, Dispatch, Duplicate
from bridge.ledger.schema import deliveries, dispatches

Entry = tuple[Delivery, Sequence[Dispatch]]
Outcome = Accepted | Duplicate | Exception
"""An exception is raised for the caller of that one entry."""

_MAX_ENTRIES: Final = 200
"""Deliveries in one commit: so many take some milliseconds, and those behind them wait as long."""

_GATHER: Final = 0.001
"""Seconds that a commit waits for more deliveries: fewer commits mean fewer switches between the two threads. Without
it, the bridge accepts a seventh fewer deliveries per second.
"""


class SharedCommits:
    """Commits deliveries in `thread`, as many at a time as have arrived; belongs to one event loop.

    A durable commit costs a few milliseconds of the disk, however many rows it has, and its thread has to be entered
    and left. While one commit is under way the next deliveries gather, so each batch pays for that once.
    """

    def __init__(self, database: Database, thread: Executor) -> None:
        self._database = database
        self._thread = thread
        self._waiting: list[tuple[Entry, asyncio.Future[Accepted | Duplicate]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def add(self, entry: Entry) -> Accepted | Duplicate:
        """Return once the entry is on the disk, or known already; raises the error of this entry only."""
        outcome: asyncio.Future[Accepted | Duplicate] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, outcome))
        if self._committing is None or self._committing.done():
            # The task begins at the loop's next turn, so its first commit holds whatever arrived in this one.
            self._committing = asyncio.create_task(self._commit_waiting(), name="shared commits")
        return await outcome

    async def finish(self) -> None:
        """Return once everything that was added is written."""
        if self._committing:
            await self._committing

    async def _commit_waiting(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER)
            batch, self._waiting = self._waiting[:_MAX_ENTRIES], self._waiting[_MAX_ENTRIES:]
            # In one order, so that two replicas that write the same deliveries can't wait for each other.
            batch.sort(key=lambda pair: pair[0][0].id)
            entries = [entry for entry, _ in batch]
            work = asyncio.get_running_loop().run_in_executor(self._thread, commit, self._database, entries)
            for (_, caller), outcome in zip(batch, await work, strict=True):
                if caller.done():  # it has gone away
                    continue
                if isinstance(outcome, Exception):
                    caller.set_exception(outcome)
                else:
                    caller.set_result(outcome)


def commit(database: Database, entries: Sequence[Entry]) -> list[Outcome]:
    """Write the entries in one transaction, and return the outcome of each.

    If one of them can't be stored, each half is committed without the other: in the end only that one fails.
    """
    try:
        with database.writing() as connection:
            return _insert(connection, entries)
    except Exception as error:
        if len(entries) == 1 or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
            return [translated(error, database.hint) for _ in entries]  # an exception is raised once
    middle = len(entries) // 2
    return commit(database, entries[:middle]) + commit(database, entries[middle:])


def _insert(connection: sa.Connection, entries: Sequence[Entry]) -> list[Outcome]:
    # Few statements for all entries, because the driver releases the interpreter's lock in each, and has to get it back
    # from the event loop. SQLAlchemy sends many rows in one statement only if that returns something: here, their ids.
    new_delivery, new_dispatch = _inserts(connection.dialect)
    new_ids = set(connection.scalars(new_delivery, [_delivery_row(delivery) for delivery, _ in entries]))
    outcomes: list[Outcome] = []
    accepted: list[Entry] = []
    for entry in entries:
        delivery_id = entry[0].id
        if delivery_id in new_ids:
            new_ids.remove(delivery_id)  # a second one of this id, in the same commit, is a duplicate
            accepted.append(entry)
            outcomes.append(Accepted())
        else:
            outcomes.append(Duplicate())
    if rows := [
        _dispatch_row(dispatch, delivery.id, delivery.received_at, delivery.received_at)
        for delivery, new in accepted
        for dispatch in new
    ]:
        connection.scalars(new_dispatch, rows).all()
    versions.record_accepted(connection, accepted)
    return outcomes


@lru_cache(maxsize=2)  # to build them takes SQLAlchemy longer than the database to run them
def _inserts(dialect: sa.Dialect) -> tuple[Any, Any]:
    new_delivery = insert(dialect, deliveries).on_conflict_do_nothing().returning(deliveries.c.id)
    return new_delivery, dispatches.insert().returning(dispatches.c.id)


def replay(connection: sa.Connection, delivery_id: str, new: Sequence[Dispatch], *, now: float) -> None:
    """Add dispatches to a known delivery, to be sent as if it had arrived at `now`; its pending ones are withdrawn.

    Otherwise a dispatch to a repository that has moved would stay pending for ever.
    """
    received_at = connection.scalar(sa.select(deliveries.c.received_at).where(deliveries.c.id == delivery_id))
    pending = (
        dispatches.c.received_at == received_at,
        dispatches.c.delivery_id == delivery_id,
        dispatches.c.state == DispatchState.PENDING.value,
    )
    withdrawn = {"state": DispatchState.WITHDRAWN.value, "reason": "replayed", "ended_at": now, "sending_since": None}
    connection.execute(dispatches.update().where(*pending).values(withdrawn))
    rows = [_dispatch_row(dispatch, delivery_id, received_at, now) for dispatch in new]
    connection.execute(dispatches.insert(), rows)
    versions.refresh(connection, delivery_id)


def _delivery_row(delivery: Delivery) -> dict[str, Any]:
    event = delivery.event
    row = {name: getattr(event, name) for name in ("model", "version", "alias", "tag", "source", "run_id")}
    return row | {"id": delivery.id, "kind": event.kind.value, "received_at": delivery.received_at}


def _dispatch_row(dispatch: Dispatch, delivery_id: str, received_at: float | None, at: float) -> dict[str, Any]:
    """`received_at` is the delivery's, which the index needs; `at` is when the dispatch was made."""
    row = vars(dispatch) | {"way": dispatch.way.value, "state": DispatchState.PENDING.value, "attempts": 0}
    return row | {"delivery_id": delivery_id, "received_at": received_at, "next_at": at, "created_at": at}
