"""Lanes: who may send, in which order, and what becomes of it, however many replicas there are."""

import asyncio
from typing import Any

import pytest

from bridge.core.dispatches import Decision, Pause, Reject, Retry, Sent, VerifyThenRetry
from bridge.ledger import FOLLOWER, LANE, LEASE, Ledger, lanes
from tests.unit.ledger.rows import ME, NOW, YOU, begin, delivery, dispatch, hold, lane, pending, rows, state

pytestmark = pytest.mark.anyio


async def test_dispatches_wait_in_the_order_of_their_deliveries(ledger: Ledger) -> None:
    await ledger.accept(delivery(2, NOW + 1), [dispatch(1)])
    await ledger.accept(delivery(1, NOW), [dispatch(3), dispatch(2)])
    for expected in ("dispatch-2", "dispatch-3", "dispatch-1"):
        found = await begin(ledger)
        assert found.id == expected
        await ledger.write(lanes.settle, found, Sent(), ME, now=NOW, lane_next_at=NOW)
    assert await ledger.read(lanes.next_pending, now=NOW) is None


async def test_a_request_that_is_under_way_is_written_down_and_due_again_once_it_may_be_lost(
    ledger: Ledger, other: Ledger
) -> None:
    await ledger.accept(delivery(), [dispatch()])
    begun = await begin(ledger, at=NOW + 5)
    assert (begun.sending_since, begun.next_at) == (NOW + 5, NOW + 125)
    assert await other.read(lanes.next_pending, now=NOW) == begun


@pytest.mark.parametrize(
    ("decision", "expected", "expected_lane"),
    [
        (Sent(), {"state": "sent", "attempts": 1, "sending_since": None, "sent_at": NOW + 1}, (NOW + 2, None, 0)),
        (Sent(7, "https://run"), {"state": "sent", "run_id": 7, "run_url": "https://run"}, (NOW + 2, None, 0)),
        (Reject("no"), {"state": "rejected", "reason": "no", "attempts": 1, "ended_at": NOW + 1}, (NOW + 2, None, 0)),
        (
            Retry(NOW + 9, "5xx"),
            {"state": "pending", "reason": "5xx", "attempts": 1, "next_at": NOW + 9, "sending_since": None},
            (NOW + 2, None, 0),
        ),
        (
            VerifyThenRetry(NOW + 120, "cut"),
            {"state": "pending", "attempts": 1, "next_at": NOW + 120, "sending_since": NOW},
            (NOW + 2, None, 0),
        ),
        (
            Pause(NOW + 60, "401"),
            {"state": "pending", "reason": "401", "attempts": 0, "next_at": NOW, "sending_since": None},
            (NOW + 60, "401", 1),
        ),
        (
            Pause(NOW + 60, "401", verify_first=True),
            {"state": "pending", "attempts": 0, "sending_since": NOW},
            (NOW + 60, "401", 1),
        ),
    ],
)
async def test_what_became_of_a_request_is_written_into_dispatch_and_lane(
    ledger: Ledger, decision: Decision, expected: dict[str, Any], expected_lane: tuple[float, str | None, int]
) -> None:
    await ledger.accept(delivery(), [dispatch()])
    begun = await begin(ledger)
    assert await ledger.write(lanes.settle, begun, decision, ME, now=NOW + 1, lane_next_at=NOW + 2)
    assert {name: state(ledger)[name] for name in expected} == expected
    now = lane(ledger)
    assert (now.next_at, now.paused_because, now.pauses) == expected_lane


async def test_pauses_in_a_row_are_counted_until_something_goes_out(ledger: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    for count in (1, 2, 3):
        begun = await begin(ledger)
        await ledger.write(lanes.settle, begun, Pause(NOW + 60, "429"), ME, now=NOW, lane_next_at=NOW)
        assert lane(ledger).pauses == count
    await ledger.write(lanes.settle, await begin(ledger), Sent(), ME, now=NOW, lane_next_at=NOW)
    assert lane(ledger).pauses == 0


async def test_a_lease_belongs_to_one_until_it_ends(ledger: Ledger, other: Ledger) -> None:
    assert await ledger.write(lanes.acquire, LANE, ME, now=NOW, seconds=5)
    assert await other.write(lanes.acquire, LANE, YOU, now=NOW + 4.9, seconds=5) is None
    assert await other.write(lanes.acquire, LANE, YOU, now=NOW + 5, seconds=5)
    assert await ledger.write(lanes.acquire, LANE, ME, now=NOW + 5, seconds=5) is None


async def test_a_lease_that_is_taken_again_in_time_never_ends(ledger: Ledger, other: Ledger) -> None:
    for at in range(0, 20, 2):
        assert await ledger.write(lanes.acquire, LANE, ME, now=NOW + at, seconds=5)
        assert await other.write(lanes.acquire, LANE, YOU, now=NOW + at + 1.9, seconds=5) is None


async def test_a_lease_that_is_fresh_is_kept_without_a_write(ledger: Ledger) -> None:
    await ledger.write(lanes.acquire, LANE, ME, now=NOW, seconds=5)
    await ledger.write(lanes.acquire, LANE, ME, now=NOW + 2, seconds=5)
    assert rows(ledger, "select leased_until from lanes") == [(NOW + 5,)]
    await ledger.write(lanes.acquire, LANE, ME, now=NOW + 3, seconds=5)
    assert rows(ledger, "select leased_until from lanes") == [(NOW + 8,)]


async def test_a_lease_that_is_released_is_free_at_once(ledger: Ledger, other: Ledger) -> None:
    await ledger.write(lanes.acquire, LANE, ME, now=NOW, seconds=5)
    await other.write(lanes.release, LANE, YOU)
    assert await other.write(lanes.acquire, LANE, YOU, now=NOW, seconds=5) is None
    await ledger.write(lanes.release, LANE, ME)
    assert await other.write(lanes.acquire, LANE, YOU, now=NOW, seconds=5)


async def test_leases_that_are_no_lane_are_made_when_first_taken(ledger: Ledger, other: Ledger) -> None:
    assert await ledger.write(lanes.acquire, FOLLOWER, ME, now=NOW, seconds=5)
    assert await other.write(lanes.acquire, FOLLOWER, YOU, now=NOW, seconds=5) is None
    assert await other.write(lanes.acquire, LANE, YOU, now=NOW, seconds=5)


async def test_a_lease_from_before_the_clock_was_set_back_holds_nobody_up(ledger: Ledger, other: Ledger) -> None:
    await ledger.write(lanes.acquire, LANE, ME, now=NOW + 3600, seconds=5)
    assert await other.write(lanes.acquire, LANE, YOU, now=NOW, seconds=5)


async def test_of_many_that_take_a_lease_at_once_one_gets_it(ledger: Ledger, other: Ledger) -> None:
    for at in range(0, 200, 10):
        taken = await asyncio.gather(
            *(
                each.write(lanes.acquire, LANE, f"{each!r} {n}", now=NOW + at, seconds=5)
                for n in range(5)
                for each in (ledger, other)
            )
        )
        assert len([lane for lane in taken if lane]) == 1


async def test_who_lost_the_lane_may_not_send(ledger: Ledger, other: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    await hold(ledger, ME)
    seen = await pending(ledger)
    await hold(other, YOU, NOW + LEASE)
    assert await ledger.write(lanes.begin_sending, seen, ME, now=NOW + LEASE, settle=120) is None
    assert await other.read(lanes.next_pending, now=NOW) == seen


async def test_who_holds_the_lane_may_not_send_what_another_has_touched(ledger: Ledger, other: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    seen = await pending(ledger)
    theirs = await begin(other, YOU)
    await hold(ledger, ME, NOW + LEASE)
    assert await ledger.write(lanes.begin_sending, seen, ME, now=NOW + LEASE, settle=120) is None
    assert await ledger.read(lanes.next_pending, now=NOW) == theirs


async def test_to_begin_renews_the_lease(ledger: Ledger, other: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    await hold(ledger, ME, NOW)
    await ledger.write(lanes.begin_sending, await pending(ledger), ME, now=NOW + LEASE - 1, settle=120)
    assert await other.write(lanes.acquire, LANE, YOU, now=NOW + LEASE, seconds=LEASE) is None


async def test_of_two_that_begin_at_once_one_sends(ledger: Ledger, other: Ledger) -> None:
    for number in range(20):
        at = NOW + number * 2 * LEASE
        await ledger.accept(delivery(number, at), [dispatch(number)])
        seen = await pending(ledger)

        async def begun(each: Ledger, holder: str, at: float = at) -> bool:
            await each.write(lanes.acquire, LANE, holder, now=at, seconds=LEASE)
            return await each.write(lanes.begin_sending, seen, holder, now=at, settle=120) is not None  # noqa: B023  awaited below

        assert sorted(await asyncio.gather(begun(ledger, ME), begun(other, YOU))) == [False, True]
        holder = ME if await ledger.write(lanes.acquire, LANE, ME, now=at, seconds=LEASE) else YOU
        await ledger.write(lanes.settle, await pending(ledger), Sent(), holder, now=at, lane_next_at=at)


LATE = [
    Sent(7, "https://late"),
    Reject("late"),
    Retry(NOW, "late"),
    VerifyThenRetry(NOW, "late"),
    Pause(NOW + 99, "late"),
]


@pytest.mark.parametrize("late", LATE, ids=lambda late: type(late).__name__)
@pytest.mark.parametrize("meanwhile", ["taken", "begun", "settled", "settled and given back", "delayed"])
async def test_the_late_answer_of_a_frozen_holder_changes_nothing(
    ledger: Ledger, other: Ledger, meanwhile: str, late: Decision
) -> None:
    await ledger.accept(delivery(), [dispatch()])
    mine = await begin(ledger, ME)  # and here it freezes
    at = NOW + LEASE
    await hold(other, YOU, at)
    if meanwhile != "taken":
        theirs = await other.write(lanes.begin_sending, mine, YOU, now=at, settle=120)
        assert theirs
        if meanwhile.startswith("settled"):
            assert await other.write(lanes.settle, theirs, Sent(1, "https://theirs"), YOU, now=at, lane_next_at=at + 1)
        if meanwhile == "delayed":
            assert await other.write(lanes.settle, theirs, Retry(at + 9, "5xx"), YOU, now=at, lane_next_at=at + 1)
    if meanwhile == "settled and given back":
        await other.write(lanes.release, LANE, YOU)
        await hold(ledger, ME, at)
    before = (state(ledger), lane(ledger))
    assert not await ledger.write(lanes.settle, mine, late, ME, now=at + 2, lane_next_at=at + 3)
    assert (state(ledger), lane(ledger)) == before


async def test_a_holder_whose_lease_nobody_took_still_settles(ledger: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    mine = await begin(ledger, ME)
    assert await ledger.write(lanes.settle, mine, Sent(), ME, now=NOW + 60, lane_next_at=NOW + 61)
    assert state(ledger)["state"] == "sent"


async def test_what_was_settled_stays_as_it_is(ledger: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    mine = await begin(ledger)
    await ledger.write(lanes.settle, mine, Sent(7, "https://run"), ME, now=NOW, lane_next_at=NOW)
    before = (state(ledger), lane(ledger))
    assert not await ledger.write(lanes.settle, mine, Pause(NOW + 60, "401"), ME, now=NOW + 9, lane_next_at=NOW + 9)
    assert await ledger.write(lanes.begin_sending, mine, ME, now=NOW + 9, settle=1) is None
    assert (state(ledger), lane(ledger)) == before
