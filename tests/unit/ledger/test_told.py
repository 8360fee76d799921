import pytest

from bridge.core.events import Event, Kind
from bridge.ledger import Delivery, Ledger, Told

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0


async def tell(ledger: Ledger, delivery_id: str, event: Event, at: float) -> None:
    await ledger.accept(Delivery(delivery_id, event, at), [])


async def test_the_newest_delivery_about_a_version_or_an_alias_is_told(ledger: Ledger) -> None:
    created = Event(Kind.VERSION_CREATED, "iris", "1")
    await tell(ledger, "b", created, NOW + 1)
    await tell(ledger, "a", created, NOW)
    await tell(ledger, "c", Event(Kind.VERSION_CREATED, "iris", "2"), NOW + 2)
    await tell(ledger, "d", Event(Kind.ALIAS_CREATED, "iris", "2", alias="champion"), NOW + 3)
    await tell(ledger, "e", Event(Kind.ALIAS_CREATED, "iris", "1", alias="champion"), NOW + 4)
    await tell(ledger, "f", Event(Kind.ALIAS_CREATED, "iris", "3", alias="other"), NOW + 5)
    await tell(ledger, "g", Event(Kind.ALIAS_CREATED, "iris2", "9", alias="champion"), NOW + 6)
    told = ledger.last_told
    assert await told(Kind.VERSION_CREATED, "iris", version="1") == Told("b", "1", NOW + 1)
    assert await told(Kind.ALIAS_CREATED, "iris", alias="champion") == Told("e", "1", NOW + 4)
    assert await told(Kind.VERSION_CREATED, "iris", version="3") is None
    assert await told(Kind.ALIAS_CREATED, "nobody", alias="champion") is None
