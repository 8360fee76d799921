"""Deliveries sent again: new dispatches under a delivery that is there."""

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from bridge.core.dispatches import DispatchState
from bridge.ledger import versions
from bridge.ledger.records import Dispatch
from bridge.ledger.schema import deliveries, dispatches


def replay(connection: sa.Connection, delivery_id: str, wanted: Sequence[Dispatch], now: float) -> None:
    """Let the dispatches go out as if the delivery had come at `now`, in place of those of it that still wait.

    Else what waits for a repository that has moved would wait for ever.
    """
    received_at = connection.scalar(sa.select(deliveries.c.received_at).where(deliveries.c.id == delivery_id))
    also = {"delivery_id": delivery_id, "received_at": received_at, "state": DispatchState.PENDING.value, "attempts": 0}
    also |= {"next_at": now, "created_at": now}
    mine = dispatches.c.received_at == received_at, dispatches.c.delivery_id == delivery_id
    withdrawn = {"state": DispatchState.WITHDRAWN.value, "reason": "replayed", "ended_at": now, "sending_since": None}
    connection.execute(
        dispatches.update().where(*mine, dispatches.c.state == DispatchState.PENDING.value).values(withdrawn)
    )
    connection.execute(dispatches.insert(), [asdict(one) | {"way": one.way.value} | also for one in wanted])
    versions.refresh(connection, delivery_id)
