"""The dispatcher on a real ledger, with a GitHub that answers as the test decides and a clock that is set by hand."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.core.dispatches import DispatchState
from bridge.core.events import Event, EventKind
from bridge.core.requests import DispatchRequest
from bridge.core.routing import DispatchMethod
from bridge.github.client import ActionsUnreadable, GithubApi, Run, RunLookupFailed
from bridge.github.responses import Answer, NotSent, Outcome, Unanswered
from bridge.ledger import LANE, LEASE, Delivery, Dispatch, Ledger, LedgerUnavailable, Pending, lanes, queries, runs
from bridge.workers.dispatcher import Dispatcher
from tests.unit.ledger.rows import lane
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
SETTLE = 120.0
RUN = Run(id=7, html_url="https://run")
PAYLOAD = json.dumps({"model": {"name": "iris", "version": "1", "alias": None}})
RATE_LIMIT = Answer(403, {"retry-after": "7"})


@dataclass
class FakeGithub(GithubApi):
    """Answers dispatches by `answers`, then 204; finds by `finds`, then nothing. Remembers what it was asked."""

    answers: list[Outcome] = field(default_factory=list)
    finds: list[Run | Outcome | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    during: Callable[[], Awaitable[None]] | None = None

    async def dispatch(self, request: DispatchRequest) -> Outcome:
        if request.dispatch is DispatchMethod.WORKFLOW:
            self.asked.append(f"run {request.path} on {request.body['ref']}")
        else:
            self.asked.append(f"dispatch {request.body['client_payload']}")
        if self.during:
            await self.during()
        return self.answers.pop(0) if self.answers else Answer(204)

    async def find_run(self, repository: str, dispatch_id: str, *, since: float | None = None) -> Run | None:
        self.asked.append(f"find {dispatch_id}")
        found = self.finds.pop(0) if self.finds else None
        if found is None or isinstance(found, Run):
            return found
        if isinstance(found, Answer) and found.status in (403, 404) and not found.headers:
            raise ActionsUnreadable(found)
        raise RunLookupFailed(found)


class Clock:
    """A clock that only the test moves."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def github() -> FakeGithub:
    return FakeGithub()


@pytest.fixture
def dispatcher(ledger: Ledger, github: FakeGithub, clock: Clock) -> Dispatcher:
    return replica(ledger, github, clock)


def replica(ledger: Ledger, github: FakeGithub, clock: Clock) -> Dispatcher:
    return Dispatcher(ledger, github, interval=1.0, settle=SETTLE, clock=clock, chance=lambda: 1.0)


async def accept(ledger: Ledger, number: int = 1, at: float = NOW, repository: str = "owner/models") -> None:
    event = Event(EventKind.VERSION_CREATED, "iris", "1")
    dispatch = Dispatch(f"d{number}", "environment", repository, "type", str(number))
    await ledger.accept(Delivery(f"delivery-{number}", event, at), [dispatch])


async def killed_while_sending(ledger: Ledger, at: float = NOW) -> None:
    """Leave behind what a process does that is killed after it has asked GitHub, or before."""
    assert await ledger.write(lanes.acquire, LANE, "killed", now=at, seconds=LEASE)
    assert await ledger.write(lanes.begin_sending, await waiting(ledger), "killed", now=at, settle=SETTLE)


async def waiting(ledger: Ledger) -> Pending:
    pending = await ledger.read(lanes.next_pending, now=0.0)
    assert pending is not None
    return pending


async def test_what_is_due_is_sent_at_once(dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub) -> None:
    await accept(ledger)
    await dispatcher.step()
    assert github.asked == ["dispatch 1"]
    assert await ledger.read(lanes.next_pending, now=0.0) is None


async def test_requests_are_sent_one_interval_apart_in_their_order(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    await accept(ledger, 1, NOW - 2)
    await accept(ledger, 2, NOW - 1)
    assert await dispatcher.step() == 1.0
    assert await dispatcher.step() == 1.0
    clock.now += 0.9
    assert await dispatcher.step() == pytest.approx(0.1)
    assert github.asked == ["dispatch 1"]
    clock.now += 0.1
    await dispatcher.step()
    assert github.asked == ["dispatch 1", "dispatch 2"]


async def test_before_a_request_leaves_the_ledger_says_so(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub
) -> None:
    seen: list[float | None] = []

    async def look() -> None:
        seen.append((await waiting(ledger)).sending_since)

    github.during = look
    await accept(ledger)
    await dispatcher.step()
    assert seen == [NOW]


async def test_a_process_killed_while_sending_searches_for_the_run_before_it_sends_again(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    await accept(ledger)
    await killed_while_sending(ledger)
    clock.now += SETTLE - 1
    assert await dispatcher.step() == 1
    assert github.asked == []
    clock.now += 1
    github.finds = [RUN]
    await dispatcher.step()
    assert github.asked == ["find d1"]
    assert await ledger.read(lanes.next_pending, now=0.0) is None


async def test_an_uncertain_send_without_a_run_is_sent_again(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    github.answers = [Unanswered("ReadTimeout")]
    await accept(ledger)
    await dispatcher.step()
    clock.now += SETTLE - 1
    await dispatcher.step()
    assert github.asked == ["dispatch 1"]
    clock.now += 1
    await dispatcher.step()
    assert github.asked == ["dispatch 1", "find d1", "dispatch 1"]
    assert await ledger.read(lanes.next_pending, now=0.0) is None


async def test_an_uncertain_dispatch_holds_up_no_other(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    github.answers = [Unanswered("ReadTimeout")]
    await accept(ledger, 1)
    await accept(ledger, 2)
    await dispatcher.step()
    clock.now += 1
    await dispatcher.step()
    assert github.asked == ["dispatch 1", "dispatch 2"]


@pytest.mark.parametrize("outcome", [Answer(403, {}, "Resource not accessible"), Answer(404, {}, "Not Found")])
async def test_a_token_that_may_not_search_sends_again_rather_than_never(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock, outcome: Outcome
) -> None:
    await accept(ledger)
    await killed_while_sending(ledger, NOW - SETTLE)
    github.finds = [outcome]
    await dispatcher.step()
    assert github.asked == ["find d1", "dispatch 1"]


@pytest.mark.parametrize("outcome", [RATE_LIMIT, Answer(401, {}, "Bad credentials")])
async def test_a_search_that_is_limited_pauses_the_lane_and_the_dispatch_stays_uncertain(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, outcome: Outcome
) -> None:
    await accept(ledger)
    await killed_while_sending(ledger, NOW - SETTLE)
    github.finds = [outcome]
    await dispatcher.step()
    assert lane(ledger).paused_because
    assert (await waiting(ledger)).sending_since is not None


@pytest.mark.parametrize("outcome", [Answer(502), Unanswered("ReadTimeout"), NotSent("ConnectError")])
async def test_a_search_that_fails_is_repeated_and_nothing_is_sent_meanwhile(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, outcome: Outcome
) -> None:
    await accept(ledger)
    await killed_while_sending(ledger, NOW - SETTLE)
    github.finds = [outcome]
    await dispatcher.step()
    assert github.asked == ["find d1"]
    pending = await waiting(ledger)
    assert pending.next_at > NOW
    assert pending.sending_since is not None


async def test_a_paused_lane_sends_nothing_and_goes_on_in_order_counting_no_attempt(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    github.answers = [Answer(401, {}, "Bad credentials")]
    await accept(ledger, 1, NOW - 2)
    await accept(ledger, 2, NOW - 1)
    await dispatcher.step()
    pending = await waiting(ledger)
    assert (pending.id, pending.attempts) == ("d1", 0)
    clock.now += 59
    await dispatcher.step()
    assert github.asked == ["dispatch 1"]
    clock.now += 1
    await dispatcher.step()
    clock.now += 1
    await dispatcher.step()
    assert github.asked == ["dispatch 1", "dispatch 1", "dispatch 2"]
    assert lane(ledger).paused_because is None


async def test_what_a_repository_refuses_each_time_holds_up_nothing_else_that_it_would_take(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    github.answers = [
        Answer(404, {}, "No such workflow"),
        Answer(204),
        Answer(404, {}, "No such workflow"),
        Answer(204),
    ]
    await accept(ledger, 1, NOW - 2)
    await accept(ledger, 2, NOW - 1)
    for _ in range(2):
        await dispatcher.step()
        clock.now += 60
        await dispatcher.step()
        clock.now += 1
        await accept(ledger, 3, clock.now)
    assert github.asked == ["dispatch 1", "dispatch 2", "dispatch 1", "dispatch 3"]


@pytest.mark.parametrize("status", [301, 403, 404])
async def test_a_repository_that_refuses_holds_nobody_else_up_and_goes_on_once_it_is_fixed(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock, status: int
) -> None:
    github.answers = [Answer(status, {}, "No"), Answer(204), Answer(204), Answer(status, {}, "No"), Answer(204)]
    await accept(ledger, 1, NOW - 4, "owner/closed")
    await accept(ledger, 2, NOW - 3, "owner/closed")
    await accept(ledger, 3, NOW - 2)
    await accept(ledger, 4, NOW - 1)
    for _ in range(4):
        await dispatcher.step()
        clock.now += 1
    assert github.asked == ["dispatch 1", "dispatch 3", "dispatch 4"]
    assert lane(ledger).paused_because is None
    assert f"GitHub refused the request ({status} No)" in (await ledger.read(lanes.pause_reasons))["owner/closed"]
    for seconds in (56, 59, 1, 1):
        clock.now += seconds
        await dispatcher.step()
    assert github.asked[3:] == ["dispatch 2", "dispatch 1", "dispatch 2"]
    assert await ledger.read(lanes.pause_reasons) == {}
    assert await ledger.read(lanes.next_pending, now=0.0) is None


async def test_failures_of_github_delay_the_dispatch_and_no_other(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    github.answers = [Answer(500), NotSent("ConnectError")]
    await accept(ledger, 1, NOW - 2)
    await accept(ledger, 2, NOW - 1)
    for _ in range(12):
        await dispatcher.step()
        clock.now += 1
    assert github.asked == ["dispatch 1", "dispatch 2", "dispatch 1", "dispatch 2"]


async def test_what_github_rejects_is_not_sent_again(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub
) -> None:
    github.answers = [Answer(422, {}, "Invalid request.")]
    await accept(ledger)
    await dispatcher.step()
    assert await ledger.read(lanes.next_pending, now=0.0) is None


async def test_the_loop_wakes_at_once_for_what_was_accepted(ledger: Ledger, github: FakeGithub) -> None:
    dispatcher = Dispatcher(ledger, github, interval=0.0, settle=SETTLE)
    sent = asyncio.Event()

    async def tell() -> None:
        sent.set()

    github.during = tell
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.1)
    await accept(ledger, at=time.time())
    dispatcher.wake()
    await asyncio.wait_for(sent.wait(), PATIENCE)
    dispatcher.stop()
    await asyncio.wait_for(task, PATIENCE)


async def test_a_stop_lets_the_request_under_way_end(ledger: Ledger, github: FakeGithub) -> None:
    dispatcher = Dispatcher(ledger, github, interval=0.0, settle=SETTLE)

    async def stop() -> None:
        dispatcher.stop()
        await asyncio.sleep(0.05)

    github.during = stop
    await accept(ledger)
    assert not dispatcher.running
    await asyncio.wait_for(dispatcher.run(), PATIENCE)
    assert not dispatcher.running
    assert await ledger.read(lanes.next_pending, now=0.0) is None


@pytest.mark.parametrize("failure", [LedgerUnavailable("the disk is full"), ZeroDivisionError()])
async def test_no_failure_ends_the_loop(
    ledger: Ledger, github: FakeGithub, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.workers.loop._AFTER_FAILURE", 0.01)
    failures = [failure]

    async def fail_once() -> None:
        if failures:
            raise failures.pop()

    github.during = fail_once
    dispatcher = Dispatcher(ledger, github, interval=0.0, settle=0.0)
    await accept(ledger)
    task = asyncio.create_task(dispatcher.run())
    while await ledger.read(lanes.next_pending, now=0.0):
        await asyncio.sleep(0.01)
    dispatcher.stop()
    await asyncio.wait_for(task, PATIENCE)
    assert github.asked == ["dispatch 1", "find d1", "dispatch 1"]


async def test_a_way_to_a_workflow_starts_it_and_keeps_its_run(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub
) -> None:
    dispatch = Dispatch("d1", "r", "o/r", "t", PAYLOAD, way=DispatchMethod.WORKFLOW, workflow="build.yml", ref="main")
    await ledger.accept(Delivery("delivery", Event(EventKind.VERSION_CREATED, "iris", "1"), NOW), [dispatch])
    github.answers = [Answer(200, run_id=7, run_url="https://run")]
    await dispatcher.step()
    assert github.asked == ["run actions/workflows/build.yml/dispatches on main"]
    (sent,) = await ledger.read(runs.open_dispatches, now=NOW)
    assert (sent.run_id, sent.run_url) == (7, "https://run")


async def test_only_the_replica_that_holds_the_lane_sends(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    other = replica(ledger, github, clock)

    async def meanwhile() -> None:
        github.during = None
        await accept(ledger, 2)
        assert 0 < await other.step() <= 1
        assert github.asked == ["dispatch 1"]

    github.during = meanwhile
    await accept(ledger, 1)
    await dispatcher.step()
    assert github.asked == ["dispatch 1"]


async def test_replicas_keep_one_pace_together(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    other = replica(ledger, github, clock)
    await accept(ledger, 1)
    await accept(ledger, 2)
    await dispatcher.step()
    await dispatcher.end()
    clock.now += 0.5
    assert await other.step() == 0.5
    clock.now += 0.5
    await other.step()
    assert github.asked == ["dispatch 1", "dispatch 2"]


async def test_a_dead_replicas_lane_is_taken_over_within_seconds(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    await accept(ledger, 1)
    await killed_while_sending(ledger)
    await accept(ledger, 2)
    clock.now += LEASE
    await dispatcher.step()
    assert github.asked == ["dispatch 2"]
    assert LEASE <= 10


async def test_a_stopped_replica_releases_its_lane(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    await accept(ledger, 1)
    await dispatcher.step()
    dispatcher.stop()
    await dispatcher.run()
    assert await ledger.write(lanes.acquire, LANE, "another", now=NOW, seconds=LEASE)


async def test_the_lane_is_held_as_long_as_a_request_takes(
    ledger: Ledger, github: FakeGithub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.workers.dispatcher.LEASE", 0.03)  # the dispatcher renews it every 10 ms then

    async def take_long() -> None:
        for _ in range(20):
            await asyncio.sleep(0.02)
            clock.now += 0.02
            assert await ledger.write(lanes.acquire, LANE, "another", now=clock.now, seconds=LEASE) is None

    github.during = take_long
    await accept(ledger)
    monkeypatch.setattr("bridge.ledger.lanes.LEASE", 0.03)
    await replica(ledger, github, clock).step()
    assert await ledger.read(lanes.next_pending, now=0.0) is None


@pytest.mark.parametrize("run", [RUN, None])
async def test_a_frozen_replicas_answer_comes_too_late_and_its_run_is_searched_for(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock, run: Run | None
) -> None:
    other = replica(ledger, github, clock)
    github.finds = [run]

    async def freeze() -> None:
        github.during = None
        clock.now += SETTLE
        await other.step()

    github.during = freeze
    await accept(ledger)
    await dispatcher.step()
    expected = ["dispatch 1", "find d1"] if run else ["dispatch 1", "find d1", "dispatch 1"]
    assert github.asked == expected
    (sent,) = await ledger.read(runs.open_dispatches, now=clock.now)
    assert (sent.run_id, sent.sent_at) == (run.id if run else None, NOW + SETTLE)


async def test_a_replica_that_froze_before_it_sent_does_not_send(
    ledger: Ledger, github: FakeGithub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, other = replica(ledger, github, clock), replica(ledger, github, clock)
    write = Ledger.write

    async def freeze(self: Ledger, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if work is lanes.begin_sending:
            monkeypatch.setattr(Ledger, "write", write)
            clock.now += LEASE
            await other.step()
        return await write(self, work, *args, **kwargs)

    monkeypatch.setattr(Ledger, "write", freeze)
    await accept(ledger)
    await frozen.step()
    assert github.asked == ["dispatch 1"]


async def test_a_clock_that_is_set_back_holds_nothing_up(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    await accept(ledger, 1)
    await accept(ledger, 2)
    await dispatcher.step()
    clock.now -= 3600
    assert await dispatcher.step() == 1
    assert github.asked == ["dispatch 1", "dispatch 2"]


async def test_a_closed_lane_is_not_asked_about_at_every_delivery(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    await accept(ledger)
    await dispatcher.step()
    dispatcher.wake()
    assert not dispatcher._woken.is_set()
    clock.now += 1
    dispatcher.wake()
    assert dispatcher._woken.is_set()


async def test_a_dispatch_that_cannot_be_read_is_rejected_and_the_next_one_is_sent(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    event = Event(EventKind.VERSION_CREATED, "iris", "1")
    unreadable = Dispatch("d1", "environment", "owner/models", "type", "{")
    await ledger.accept(Delivery("delivery-1", event, NOW - 2), [unreadable])
    await accept(ledger, 2, NOW - 1)
    await dispatcher.step()
    clock.now += 1
    await dispatcher.step()
    assert github.asked == ["dispatch 2"]
    assert (await ledger.read(queries.figures, now=NOW)).dispatches[DispatchState.REJECTED] == 1
    assert await ledger.read(lanes.next_pending, now=0.0) is None


async def test_an_answer_that_cannot_be_stored_ends_its_dispatch_alone(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub, clock: Clock
) -> None:
    await accept(ledger, 1, NOW - 2)
    await accept(ledger, 2, NOW - 1)
    github.answers = [Answer(200, run_id=2**70)]
    await dispatcher.step()
    clock.now += 1
    await dispatcher.step()
    figures = await ledger.read(queries.figures, now=NOW)
    assert (figures.dispatches[DispatchState.REJECTED], figures.dispatches[DispatchState.SENT]) == (1, 1)


async def test_a_way_that_only_a_later_release_knows_holds_up_nothing(
    dispatcher: Dispatcher, ledger: Ledger, github: FakeGithub
) -> None:
    await accept(ledger, 1, NOW - 2)
    await accept(ledger, 2, NOW - 1)
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("update dispatches set way = 'by_pigeon' where id = 'd1'")
    await dispatcher.step()
    assert github.asked == ["dispatch 2"]
