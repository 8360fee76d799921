"""Ledgers on real databases, of both kinds."""

from collections.abc import AsyncIterator

import pytest

from bridge.ledger import Ledger


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(database_url)
    await ledger.start()
    yield ledger
    await ledger.close()


@pytest.fixture
async def other(ledger: Ledger, database_url: str) -> AsyncIterator[Ledger]:
    """The ledger of another replica, on the same database."""
    other = Ledger(database_url)
    await other.start()
    yield other
    await other.close()
