"""Deliveries come in: durable, once, and many to a commit."""

import asyncio
import secrets
import threading

import pytest
import sqlalchemy as sa

from bridge.core.events import Event, EventKind
from bridge.core.limits import MAX_NAME
from bridge.core.routing import DispatchMethod
from bridge.ledger import Accepted, Delivery, Dispatch, Duplicate, Ledger, LedgerUnavailable, Unstorable
from tests.unit.ledger.rows import NOW, delivery, dispatch, pending, rows, state
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


class Commits:
    """Counts the commits of a ledger, and holds them up while `open` is not set."""

    def __init__(self, ledger: Ledger) -> None:
        self.count = 0
        self.open = threading.Event()
        self.open.set()
        sa.event.listen(ledger._database._engine, "commit", self._commit)

    def _commit(self, _connection: sa.Connection) -> None:
        self.open.wait(10)
        self.count += 1


async def test_what_is_accepted_is_in_the_database_with_its_dispatches(ledger: Ledger) -> None:
    assert await ledger.accept(delivery(), [dispatch(1), dispatch(2)]) == Accepted()
    assert rows(ledger, "select id, kind, model, version, alias, tag, received_at from deliveries") == [
        ("delivery-1", "model_version_alias.created", "模型", "7", "champion", None, NOW)
    ]
    assert rows(ledger, "select id, delivery_id, state, attempts, way from dispatches order by id") == [
        ("dispatch-1", "delivery-1", "pending", 0, "repository_dispatch"),
        ("dispatch-2", "delivery-1", "pending", 0, "repository_dispatch"),
    ]


async def test_the_longest_names_are_taken_whatever_they_hold(ledger: Ledger) -> None:
    model, alias = (secrets.token_hex(MAX_NAME // 2) for _ in range(2))
    event = Event(EventKind.ALIAS_CREATED, model, "1" * 18, alias=alias)
    assert await ledger.accept(Delivery("delivery-1", event, NOW), [dispatch(1)]) == Accepted()
    assert rows(ledger, "select model, alias from deliveries") == [(model, alias)]


async def test_the_way_to_a_workflow_is_kept(ledger: Ledger) -> None:
    one = Dispatch("1", "route", "o/r", "type", "{}", way=DispatchMethod.WORKFLOW, workflow="build.yml", ref="main")
    await ledger.accept(delivery(), [one])
    found = await pending(ledger)
    assert (found.way, found.workflow, found.ref) == (DispatchMethod.WORKFLOW, "build.yml", "main")


async def test_nobody_gets_an_answer_before_the_commit_is_done(ledger: Ledger) -> None:
    commits = Commits(ledger)
    commits.open.clear()
    accepting = asyncio.create_task(ledger.accept(delivery(), [dispatch()]))
    await asyncio.sleep(0.1)
    assert not accepting.done()
    commits.open.set()
    assert await accepting == Accepted()


async def test_a_known_delivery_changes_nothing(ledger: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch(1)])
    assert await ledger.accept(delivery(), [dispatch(2)]) == Duplicate()
    assert rows(ledger, "select id from dispatches") == [("dispatch-1",)]


async def test_deliveries_that_arrive_together_share_commits(ledger: Ledger) -> None:
    commits = Commits(ledger)
    outcomes = await asyncio.gather(*(ledger.accept(delivery(n), [dispatch(n)]) for n in range(100)))
    assert outcomes == [Accepted()] * 100
    assert commits.count == 1
    assert rows(ledger, "select count(*) from dispatches") == [(100,)]


async def test_deliveries_gather_while_a_commit_is_under_way(ledger: Ledger) -> None:
    commits = Commits(ledger)
    commits.open.clear()
    first = asyncio.create_task(ledger.accept(delivery(0), [dispatch(0)]))
    await asyncio.sleep(0.1)
    later = [asyncio.create_task(ledger.accept(delivery(n), [dispatch(n)])) for n in range(1, 20)]
    await asyncio.sleep(0.1)
    commits.open.set()
    assert await asyncio.gather(first, *later) == [Accepted()] * 20
    assert commits.count == 2


async def test_closing_writes_what_waits_for_a_commit_first(ledger: Ledger) -> None:
    commits = Commits(ledger)
    commits.open.clear()
    first = asyncio.create_task(ledger.accept(delivery(0), [dispatch(0)]))
    await asyncio.sleep(0.1)
    later = [asyncio.create_task(ledger.accept(delivery(n), [dispatch(n)])) for n in range(1, 20)]
    await asyncio.sleep(0.1)
    later[3].cancel()
    closing = asyncio.create_task(ledger.close())
    await asyncio.sleep(0.1)
    commits.open.set()
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(first, *later, return_exceptions=True)
        await closing
    assert outcomes.count(Accepted()) == 19
    assert rows(ledger, "select count(*) from deliveries") == [(20,)]


async def test_who_was_there_last_time_and_does_not_come_again_is_not_waited_for(ledger: Ledger) -> None:
    await asyncio.gather(*(ledger.accept(delivery(n), [dispatch(n)]) for n in range(20)))
    async with asyncio.timeout(2):
        assert await ledger.accept(delivery(20), [dispatch(20)]) == Accepted()


async def test_a_commit_takes_only_so_many_and_the_rest_goes_into_the_next(ledger: Ledger) -> None:
    commits = Commits(ledger)
    outcomes = await asyncio.gather(*(ledger.accept(delivery(n), [dispatch(n)]) for n in range(450)))
    assert outcomes == [Accepted()] * 450
    assert commits.count == 3


async def test_of_two_with_one_id_in_one_commit_one_is_accepted(ledger: Ledger) -> None:
    commits = Commits(ledger)
    outcomes = await asyncio.gather(
        ledger.accept(delivery(1), [dispatch(1)]),
        ledger.accept(delivery(2), [dispatch(2)]),
        ledger.accept(delivery(1), [dispatch(3)]),
    )
    assert list(outcomes) == [Accepted(), Accepted(), Duplicate()]
    assert commits.count == 1
    assert rows(ledger, "select id from dispatches order by id") == [("dispatch-1",), ("dispatch-2",)]


async def test_what_cannot_be_written_fails_alone(ledger: Ledger) -> None:
    await ledger.accept(delivery(1), [dispatch(1)])
    outcomes = await asyncio.gather(
        ledger.accept(delivery(2), [dispatch(2)]),
        ledger.accept(delivery(3), [dispatch(3), dispatch(1)]),  # an id that is taken
        ledger.accept(Delivery("delivery-4", Event(EventKind.VERSION_CREATED, "\ud800", "1"), NOW), [dispatch(4)]),
        ledger.accept(delivery(1), [dispatch(5)]),
        ledger.accept(delivery(6), [dispatch(6)]),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [
        Accepted,
        LedgerUnavailable,
        Unstorable,
        Duplicate,
        Accepted,
    ]
    assert rows(ledger, "select id from deliveries order by id") == [("delivery-1",), ("delivery-2",), ("delivery-6",)]
    assert rows(ledger, "select id from dispatches order by id") == [("dispatch-1",), ("dispatch-2",), ("dispatch-6",)]


async def test_a_database_that_fails_fails_them_all_and_works_again_after(ledger: Ledger) -> None:
    def fail(_connection: sa.Connection) -> None:
        sa.event.remove(ledger._database._engine, "commit", fail)
        raise sa.exc.OperationalError("COMMIT", {}, Exception("the disk is full"))

    sa.event.listen(ledger._database._engine, "commit", fail)
    failed = await asyncio.gather(
        *(ledger.accept(delivery(n), [dispatch(n)]) for n in range(3)), return_exceptions=True
    )
    assert [str(one).partition(":")[0] for one in failed] == ["the ledger can't be used (the disk is full)"] * 3
    assert all(isinstance(one, LedgerUnavailable) for one in failed)
    assert rows(ledger, "select count(*) from deliveries") == [(0,)]
    assert await ledger.accept(delivery(), [dispatch()]) == Accepted()


async def test_a_caller_that_goes_away_takes_nobody_along(ledger: Ledger) -> None:
    commits = Commits(ledger)
    commits.open.clear()
    calls = [asyncio.create_task(ledger.accept(delivery(n), [dispatch(n)])) for n in range(3)]
    await asyncio.sleep(0.1)
    calls[1].cancel()
    await asyncio.sleep(0)
    commits.open.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Accepted, asyncio.CancelledError, Accepted]
    assert await ledger.accept(delivery(1), [dispatch(9)]) == Duplicate()


@pytest.mark.parametrize("known", [0, 1], ids=["all new", "one known"])
async def test_two_replicas_that_get_the_same_deliveries_accept_each_once(
    ledger: Ledger, other: Ledger, known: int
) -> None:
    for number in range(known):
        await ledger.accept(delivery(number), [dispatch(2_000 + number)])
    numbers = range(60)
    mine = [ledger.accept(delivery(n), [dispatch(n)]) for n in numbers]
    theirs = [other.accept(delivery(n), [dispatch(1_000 + n)]) for n in reversed(numbers)]
    outcomes = await asyncio.gather(*mine, *theirs)
    assert outcomes.count(Accepted()) == 60 - known
    assert rows(ledger, "select count(*), count(distinct delivery_id) from dispatches") == [(60, 60)]


async def test_an_error_never_repeats_what_was_to_be_written(ledger: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    with pytest.raises(LedgerUnavailable) as failed:
        await ledger.accept(delivery(2), [dispatch()])
    assert "schema" not in str(failed.value)
    assert "dispatch-1" not in str(failed.value)


async def test_a_new_dispatch_is_pending_and_has_never_been_seen(ledger: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    empty = ("sending_since", "sent_at", "run_id", "run_url", "seen_at", "ended_at", "reason")
    assert {name: state(ledger)[name] for name in empty} == dict.fromkeys(empty)
