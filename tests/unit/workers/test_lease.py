"""Leases, on a real ledger."""

import asyncio
import time

import pytest

from bridge.ledger import Ledger, LedgerUnavailable, lanes
from bridge.workers.lease import Lease

pytestmark = pytest.mark.anyio

SECONDS = 1.2


def lease(ledger: Ledger) -> Lease:
    return Lease(ledger, "work", seconds=SECONDS, clock=time.time)


async def test_while_it_is_kept_nobody_else_gets_it_and_afterwards_it_ends(ledger: Ledger) -> None:
    ours, theirs = lease(ledger), lease(ledger)
    assert await ours.acquire()
    async with ours.renewing():
        for _ in range(6):
            await asyncio.sleep(SECONDS / 2)
            assert await theirs.acquire() is None
    await asyncio.sleep(SECONDS)
    assert await theirs.acquire()


async def test_once_it_is_released_another_has_it_at_once(ledger: Ledger) -> None:
    ours, theirs = lease(ledger), lease(ledger)
    assert await ours.acquire()
    await ours.release()
    assert await theirs.acquire()
    assert await ours.acquire() is None


async def test_a_ledger_that_fails_meanwhile_does_not_disturb_the_work(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = lease(ledger)
    assert await ours.acquire()
    async with ours.renewing():
        monkeypatch.setattr(lanes, "acquire", _fail)
        await asyncio.sleep(SECONDS / 2)
        monkeypatch.undo()
        await asyncio.sleep(SECONDS)
        assert await lease(ledger).acquire() is None


def _fail(*_: object, **__: object) -> None:
    raise LedgerUnavailable("the disk is full: make room")
