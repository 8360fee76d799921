"""Rows that the tests write into ledgers, and queries that read the database beside the ledger."""

from typing import Any

import sqlalchemy as sa

from bridge.core.dispatches import Sent
from bridge.core.events import Event, EventKind
from bridge.ledger import LANE, LEASE, Delivery, Dispatch, Lane, Ledger, Pending, lanes

NOW = 1_700_000_000.0
EVENT = Event(EventKind.ALIAS_CREATED, "模型", "7", alias="champion")
ME, YOU = "me", "you"


def delivery(number: int = 1, at: float = NOW, event: Event = EVENT) -> Delivery:
    return Delivery(f"delivery-{number}", event, at)


def dispatch(number: int = 1, repository: str = "owner/models") -> Dispatch:
    return Dispatch(f"dispatch-{number}", "environment", repository, "type", '{"schema":1}')


def rows(ledger: Ledger, query: str) -> list[tuple[Any, ...]]:
    """Ask the database beside the ledger's own threads."""
    with ledger._database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def state(ledger: Ledger, dispatch_id: str = "dispatch-1") -> dict[str, Any]:
    with ledger._database.reading() as connection:
        result = connection.execute(sa.text("select * from dispatches where id = :id"), {"id": dispatch_id})
        return dict(result.mappings().one())


def lane(ledger: Ledger, name: str = LANE) -> Lane:
    with ledger._database.reading() as connection:
        query = sa.text("select name, next_at, paused_because, pauses from lanes where name = :name")
        return Lane(*connection.execute(query, {"name": name}).one())


async def hold(ledger: Ledger, holder: str = ME, at: float = NOW) -> None:
    assert await ledger.write(lanes.acquire, LANE, holder, now=at, seconds=LEASE)


async def pending(ledger: Ledger) -> Pending:
    due = await ledger.read(lanes.next_pending, now=NOW)
    assert due is not None
    return due


async def begin(ledger: Ledger, holder: str = ME, at: float = NOW) -> Pending:
    """Begin to send what is due, as the holder of the lane."""
    await hold(ledger, holder, at)
    sending = await ledger.write(lanes.begin_sending, await pending(ledger), holder, now=at, settle=120)
    assert sending is not None
    return sending


async def send(ledger: Ledger, number: int = 1, at: float = NOW, **fields: Any) -> None:
    """Accept a delivery with one dispatch, and send it."""
    repository = fields.pop("repository", "owner/models")
    await ledger.accept(delivery(number, at, **fields), [dispatch(number, repository)])
    sending = await begin(ledger, at=at)
    assert await ledger.write(lanes.settle, sending, Sent(), ME, now=at, lane_next_at=at)
