"""What holds for every loop."""

import asyncio
from collections.abc import Callable

import pytest

from bridge.ledger import LedgerUnavailable
from bridge.workers import loop
from bridge.workers.loop import Loop
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


class Counting(Loop):
    """Counts its steps, and does in each of them what the test decides."""

    name = "counting"

    def __init__(self, during: Callable[[int], float]) -> None:
        super().__init__()
        self.steps = 0
        self.ended = 0
        self._during = during

    async def step(self) -> float:
        self.steps += 1
        return self._during(self.steps)

    async def end(self) -> None:
        self.ended += 1


async def test_it_steps_until_it_is_stopped_and_then_lets_go() -> None:
    def during(steps: int) -> float:
        if steps == 3:
            counting.stop()
        return 0.0

    counting = Counting(during)
    assert not counting.running
    await asyncio.wait_for(counting.run(), PATIENCE)
    assert (counting.steps, counting.ended, counting.running) == (3, 1, False)


async def test_it_rests_as_long_as_the_step_says_unless_it_is_woken() -> None:
    counting = Counting(lambda _: 3600.0)
    task = asyncio.create_task(counting.run())
    await asyncio.sleep(0.05)
    assert (counting.steps, counting.running) == (1, True)
    counting.wake()
    async with asyncio.timeout(PATIENCE):
        while counting.steps < 2:
            await asyncio.sleep(0.01)
    counting.stop()
    await asyncio.wait_for(task, PATIENCE)
    assert counting.steps == 2


async def test_what_wakes_it_during_a_step_is_not_forgotten() -> None:
    def during(steps: int) -> float:
        counting.wake() if steps == 1 else counting.stop()
        return 3600.0

    counting = Counting(during)
    await asyncio.wait_for(counting.run(), PATIENCE)
    assert counting.steps == 2


@pytest.mark.parametrize("failure", [LedgerUnavailable("the disk is full"), ZeroDivisionError()])
async def test_no_failure_ends_it(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_AFTER_FAILURE", 0.01)

    def during(steps: int) -> float:
        if steps == 1:
            raise failure
        counting.stop()
        return 0.0

    counting = Counting(during)
    await asyncio.wait_for(counting.run(), PATIENCE)
    assert (counting.steps, counting.ended) == (2, 1)


async def test_it_lets_go_too_where_it_is_cut_off() -> None:
    counting = Counting(lambda _: 3600.0)
    task = asyncio.create_task(counting.run())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task], timeout=PATIENCE)
    assert (counting.ended, counting.running) == (1, False)


async def test_it_is_failing_after_three_failures_in_a_row_until_a_step_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "_AFTER_FAILURE", 0.0)
    seen: list[bool] = []

    def during(steps: int) -> float:
        seen.append(counting.failing)
        if steps == 6:
            counting.stop()
        if steps in (1, 2, 3, 4):
            raise ZeroDivisionError
        return 0.0

    counting = Counting(during)
    await asyncio.wait_for(counting.run(), PATIENCE)
    assert seen == [False, False, False, True, True, False]
