"""Deliveries that arrive together share one durable commit.

While one commit is under way the next deliveries gather, so that however many callers there are, they wait for two
commits at most, and the thread is entered once a commit rather than once a delivery.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import sqlalchemy as sa

from bridge.ledger.records import Accepted, Delivery, Dispatch, Duplicate
from bridge.ledger.tables import deliveries, dispatches
from bridge.runs import State

Row = Mapping[str, object]
Entry = tuple[Delivery, Sequence[Dispatch]]
Outcome = Accepted | Duplicate | Exception
"""An exception is what the caller of that one entry hears."""

_MOST: Final = 200
"""Deliveries in one commit: so many take some milliseconds, and those behind them wait as long."""

_GATHER: Final = 0.002
"""Seconds that a commit waits for company: the event loop and the writer's thread get in each other's way, and at half
the commits they do so half as often.
"""

_ROWS: Final = 32
"""Rows in one statement, so that the drivers keep every statement that there is, ready to run."""


@dataclass(frozen=True)
class _Waiting:
    entry: Entry
    outcome: "asyncio.Future[Accepted | Duplicate]"


class SharedCommits:
    """Hands what callers bring to `write`, in `thread`, as many as have come at a time; belongs to one event loop."""

    def __init__(self, write: Callable[[Sequence[Entry]], Sequence[Outcome]], thread: Executor) -> None:
        self._write = write
        self._thread = thread
        self._waiting: list[_Waiting] = []
        self._busy = False

    async def add(self, entry: Entry) -> Accepted | Duplicate:
        """Come back once the entry is on the disk, or known; raises what became of this one entry."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(entry, loop.create_future())
        self._waiting.append(waiting)
        if not self._busy:
            self._busy = True
            loop.call_later(_GATHER, self._next)
        return await waiting.outcome

    def _next(self) -> None:
        batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        self._busy = bool(batch)
        if batch:
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._write, [one.entry for one in batch])
            work.add_done_callback(lambda done: self._tell(batch, done))

    def _tell(self, batch: Sequence[_Waiting], done: "asyncio.Future[Sequence[Outcome]]") -> None:
        failure = done.exception()
        outcomes = [failure] * len(batch) if failure else done.result()
        for one, outcome in zip(batch, outcomes, strict=True):
            if one.outcome.done():  # its caller has gone away
                continue
            if isinstance(outcome, BaseException):
                one.outcome.set_exception(outcome)
            else:
                one.outcome.set_result(outcome)
        asyncio.get_running_loop().call_later(_GATHER, self._next)


class NotAllNew(Exception):
    """Some of the deliveries are known: nothing was written."""


def accept_all(connection: sa.Connection, entries: Sequence[Entry]) -> list[Outcome]:
    """Write down deliveries that nobody knows yet, in as few statements as can be; raises `NotAllNew`.

    Few, because the driver gives the interpreter's lock away in each, and has to get it back from the event loop. In
    the order of their ids, so that two replicas that write the same ones can't wait for each other.
    """
    ordered = sorted(entries, key=lambda entry: entry[0].id)
    new = _insert(
        connection, deliveries, [_delivery_row(delivery) for delivery, _ in ordered], "ON CONFLICT DO NOTHING"
    )
    if new < len(entries):
        raise NotAllNew
    _insert(connection, dispatches, [_dispatch_row(one, delivery) for delivery, wanted in ordered for one in wanted])
    return [Accepted()] * len(entries)


def accept_each(
    connection: sa.Connection, entries: Sequence[Entry], translated: Callable[[Exception], Exception]
) -> list[Outcome]:
    """Write down the deliveries one by one, so that one that can't be written is nobody else's trouble."""
    outcomes: list[Outcome] = []
    for entry in entries:
        try:
            with connection.begin_nested():
                outcomes += accept_all(connection, [entry])
        except NotAllNew:
            outcomes.append(Duplicate())
        except (sa.exc.OperationalError, sa.exc.InterfaceError):
            raise
        except Exception as error:
            outcomes.append(translated(error))
    return outcomes


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], conflict: str = "") -> int:
    """Insert the rows, and give the number of those that went in."""
    inserted = 0
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        statement = _statement(table.name, tuple(some[0]), len(some), mark, conflict)
        values = tuple(value for row in some for value in row.values())
        inserted += connection.exec_driver_sql(statement, values).rowcount
    return inserted


@lru_cache(maxsize=4 * _ROWS)
def _statement(table: str, columns: tuple[str, ...], count: int, mark: str, conflict: str) -> str:
    """Spell the statement ourselves: SQLAlchemy takes longer to do so than the database to write the rows."""
    row = f"({', '.join([mark] * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * count)} {conflict}"  # noqa: S608  our own names


def _delivery_row(delivery: Delivery) -> Row:
    event = delivery.event
    return {
        "id": delivery.id,
        "kind": event.kind.value,
        "model": event.model,
        "version": event.version,
        "alias": event.alias,
        "tag": event.tag,
        "source": event.source,
        "run_id": event.run_id,
        "received_at": delivery.received_at,
    }


def _dispatch_row(dispatch: Dispatch, delivery: Delivery) -> Row:
    return {
        "id": dispatch.id,
        "delivery_id": delivery.id,
        "lane": dispatch.lane,
        "route": dispatch.route,
        "repository": dispatch.repository,
        "event_type": dispatch.event_type,
        "payload": dispatch.payload,
        "way": dispatch.way.value,
        "workflow": dispatch.workflow,
        "ref": dispatch.ref,
        "state": State.PENDING.value,
        "attempts": 0,
        "received_at": delivery.received_at,
        "next_at": delivery.received_at,
        "created_at": delivery.received_at,
    }
