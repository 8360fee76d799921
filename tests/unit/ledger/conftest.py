"""A second replica beside the ledger of `tests.unit.conftest`."""

from collections.abc import AsyncIterator

import pytest

from bridge.ledger import Ledger


@pytest.fixture
async def other(ledger: Ledger, database_url: str) -> AsyncIterator[Ledger]:
    """The ledger of another replica, on the same database."""
    other = Ledger(database_url)
    await other.start()
    yield other
    await other.close()
