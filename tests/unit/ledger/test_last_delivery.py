from typing import Any

import pytest

from bridge.core.events import Event, EventKind
from bridge.ledger import Delivery, LastDelivery, Ledger, queries

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0


async def deliver(ledger: Ledger, delivery_id: str, event: Event, at: float) -> None:
    await ledger.accept(Delivery(delivery_id, event, at), [])


async def test_the_newest_delivery_about_a_version_or_an_alias_is_found(ledger: Ledger) -> None:
    created = Event(EventKind.VERSION_CREATED, "iris", "1")
    await deliver(ledger, "b", created, NOW + 1)
    await deliver(ledger, "a", created, NOW)
    await deliver(ledger, "c", Event(EventKind.VERSION_CREATED, "iris", "2"), NOW + 2)
    await deliver(ledger, "d", Event(EventKind.ALIAS_CREATED, "iris", "2", alias="champion"), NOW + 3)
    await deliver(ledger, "e", Event(EventKind.ALIAS_CREATED, "iris", "1", alias="champion"), NOW + 4)
    await deliver(ledger, "f", Event(EventKind.ALIAS_CREATED, "iris", "3", alias="other"), NOW + 5)
    await deliver(ledger, "g", Event(EventKind.ALIAS_CREATED, "iris2", "9", alias="champion"), NOW + 6)

    async def last(*about: Any, **more: Any) -> LastDelivery | None:
        return await ledger.read(queries.last_delivery, *about, **more)

    assert await last(EventKind.VERSION_CREATED, "iris", version="1") == LastDelivery("b", "1", NOW + 1)
    assert await last(EventKind.ALIAS_CREATED, "iris", alias="champion") == LastDelivery("e", "1", NOW + 4)
    assert await last(EventKind.VERSION_CREATED, "iris", version="3") is None
    assert await last(EventKind.ALIAS_CREATED, "nobody", alias="champion") is None
