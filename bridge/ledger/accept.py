"""Deliveries that arrive together share one durable commit.

While one commit is under way the next deliveries gather, so that the thread is entered once a commit rather than once a
delivery. As many as were under way last time are waited for, but not long.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from bridge.ledger.batch import Insert, write
from bridge.ledger.records import Accepted, Delivery, Dispatch, Duplicate

Row = tuple[object, ...]
Entry = tuple[Delivery, Sequence[Dispatch]]
Outcome = Accepted | Duplicate | Exception
"""An exception is what the caller of that one entry hears."""

_MOST: Final = 200
"""Deliveries in one commit: so many take some milliseconds, and those behind them wait as long."""

_PATIENCE: Final = 0.005
"""Seconds that a commit waits for company: the event loop and the writer's thread get in each other's way, so that one
commit for all takes less than two for half of them each.
"""

_DELIVERIES: Final = Insert(
    "INSERT INTO deliveries (id, kind, model, version, alias, tag, source, run_id, received_at) VALUES",
    f"({', '.join(['{0}'] * 9)})",
    "ON CONFLICT DO NOTHING",
)
_DISPATCHES: Final = Insert(
    "INSERT INTO dispatches (id, delivery_id, lane, route, repository, event_type, payload, way, workflow, ref, state, "
    "attempts, received_at, next_at, created_at) VALUES",
    f"({', '.join(['{0}'] * 10)}, 'pending', 0, {{0}}, {{0}}, {{0}})",
)


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
        self._expected = 1
        self._busy = False
        self._looks_soon = False
        self._nothing_waits = asyncio.Event()
        self._patience: asyncio.TimerHandle | None = None

    async def add(self, entry: Entry) -> Accepted | Duplicate:
        """Come back once the entry is on the disk, or known; raises what became of this one entry."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(entry, loop.create_future())
        self._waiting.append(waiting)
        self._nothing_waits.clear()
        if not self._looks_soon:
            self._looks_soon = True
            loop.call_soon(self._gather)  # after those that have come with it
        return await waiting.outcome

    def _gather(self) -> None:
        """Begin a commit once those who are expected have come, or patience has run out."""
        self._looks_soon = False
        if self._busy or not self._waiting:
            return
        if len(self._waiting) >= min(self._expected, _MOST):
            self._commit()
        elif self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(_PATIENCE, self._commit)

    def _commit(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience = None
        self._busy = True
        batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        batch.sort(key=lambda one: one.entry[0].id)  # two replicas that write the same ones can't wait for each other
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
        self._busy = False
        self._expected = len(batch) + len(self._waiting)
        self._gather()
        if not self._busy and not self._waiting:
            self._nothing_waits.set()

    async def finish(self) -> None:
        """Come back once all that was brought is written."""
        if self._busy or self._waiting:
            await self._nothing_waits.wait()


class NotAllNew(Exception):
    """Some of the deliveries are known: nothing was written."""


def accept_all(connection: sa.Connection, entries: Sequence[Entry]) -> list[Outcome]:
    """Write down deliveries that nobody knows yet, in as few statements as can be; raises `NotAllNew`.

    Few, because the driver gives the interpreter's lock away in each, and has to get it back from the event loop.
    """
    new = write(connection, _DELIVERIES, [_delivery(delivery) for delivery, _ in entries])
    if new < len(entries):
        raise NotAllNew
    write(connection, _DISPATCHES, [_dispatch(one, delivery) for delivery, wanted in entries for one in wanted])
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


def _delivery(delivery: Delivery) -> Row:
    event, at = delivery.event, delivery.received_at
    about = event.kind.value, event.model, event.version, event.alias, event.tag, event.source, event.run_id
    return (delivery.id, *about, at)


def _dispatch(one: Dispatch, delivery: Delivery) -> Row:
    at = delivery.received_at
    where = one.lane, one.route, one.repository, one.event_type
    how = one.payload, one.way.value, one.workflow, one.ref
    return (one.id, delivery.id, *where, *how, at, at, at)
