"""The follower on a real ledger, with a GitHub and an MLflow that answer as the test decides."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.core.dispatches import UNSEEN_AFTER, DispatchState, Run, Sent
from bridge.core.events import Event, EventKind
from bridge.github.client import ActionsUnreadable, GithubApi, Page, RunLookupFailed
from bridge.github.responses import Answer, NotSent
from bridge.ledger import FOLLOWER, LANE, Delivery, Dispatch, Ledger, lanes
from bridge.mlflow.client import (
    MlflowAnswerTooLarge,
    MlflowAnswerUnreadable,
    MlflowApi,
    MlflowNotFound,
    MlflowRefused,
    MlflowUnreachable,
    ModelVersion,
)
from bridge.workers.follower import Follower
from bridge.workers.waits import WAITS

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
POLL = 15.0
DAY = 86_400.0
MODELS = "owner/models"


class Clock:
    """A clock that only the test moves."""

    now = NOW

    def __call__(self) -> float:
        return self.now


class FakeGithub(GithubApi):
    """Lists `runs` in pages of `size`, or fails with `failure`; `hidden` runs are read by their ids alone."""

    def __init__(self) -> None:
        self.runs: dict[str, list[Run]] = {}
        self.hidden: dict[int, Run] = {}
        self.failure: dict[str, RunLookupFailed] = {}
        self.size = 100
        self.endless = False
        self.asked: list[str] = []
        self.since: list[float | None] = []

    async def list_runs(self, repository: str, *, since: float | None = None) -> AsyncGenerator[Page, None]:
        self.since.append(since)
        runs = sorted(self.runs.get(repository, []), key=lambda run: -run.id)
        for start in range(0, max(len(runs), 1), self.size):
            self.asked.append(f"list {repository} {start // self.size + 1}")
            if repository in self.failure:
                raise self.failure[repository]
            is_last = start + self.size >= len(runs) and not self.endless
            yield Page(tuple(runs[start : start + self.size]), is_last=is_last)

    async def read_run(self, repository: str, run_id: int) -> Run | None:
        self.asked.append(f"read {run_id}")
        return self.hidden.get(run_id)


class FakeMlflow(MlflowApi):
    """Every version has `tags`; `refused` models may not be read; fails with `failure`."""

    def __init__(self) -> None:
        self.tags = {"image.uri": "ghcr.io/a/iris@sha256:1", "image.status": "pushed", "else": "x"}
        self.failure: Exception | None = None
        self.refused: set[str] = set()
        self.asked = 0

    def version(self, name: str, version: str) -> ModelVersion:
        self.asked += 1
        if self.failure:
            raise self.failure
        if name in self.refused:
            raise MlflowRefused("403")
        return ModelVersion.model_validate({"name": name, "version": version}).model_copy(update={"tags": self.tags})


class Bench:
    """A follower with all around it."""

    def __init__(self, url: str) -> None:
        self.ledger = Ledger(url)
        self.github = FakeGithub()
        self.mlflow = FakeMlflow()
        self.clock = Clock()
        self.ended: list[tuple[str, float]] = []
        self.follower = self.another()

    def another(self, mlflow: MlflowApi | None = None) -> Follower:
        return Follower(
            self.ledger,
            self.github,
            mlflow or self.mlflow,
            interval=POLL,
            ended=lambda state, seconds: self.ended.append((state, seconds)),
            clock=self.clock,
            chance=lambda: 1.0,
        )

    async def send(self, dispatch_id: str, run_id: int | None = None, repository: str = MODELS, at: float = 0) -> None:
        """Store a dispatch that GitHub has accepted."""
        event = Event(EventKind.VERSION_CREATED, f"model-{dispatch_id}", "7")
        dispatch = Dispatch(dispatch_id, "environment", repository, "type", "{}")
        now = at or self.clock.now
        await self.ledger.accept(Delivery(f"delivery-{dispatch_id}", event, now), [dispatch])
        await self.ledger.write(lanes.acquire, LANE, "test", now=now, seconds=60)
        pending = await self.ledger.read(lanes.next_pending, now=0.0)
        assert pending is not None
        sending = await self.ledger.write(lanes.begin_sending, pending, "test", now=now, settle=120)
        assert sending is not None
        assert await self.ledger.write(lanes.settle, sending, Sent(run_id), "test", now=now, lane_next_at=0)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.ledger._database.reading() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def state(self, dispatch_id: str) -> tuple[Any, ...]:
        (row,) = self.rows(f"select state, run_id, run_url from dispatches where id = '{dispatch_id}'")  # noqa: S608
        return row

    async def step(self, seconds: float = 0) -> float:
        self.clock.now += seconds
        return await self.follower.step()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(f"sqlite:///{tmp_path}/ledger.db")
    await bench.ledger.start()
    yield bench
    await bench.ledger.close()


def run(number: int, title: str, status: str = "completed", conclusion: str | None = "success") -> Run:
    return Run(id=number, html_url=f"https://run/{number}", display_title=title, status=status, conclusion=conclusion)


def running(number: int, title: str) -> Run:
    return run(number, title, "in_progress", None)


async def test_a_run_is_found_and_followed_to_its_end(bench: Bench) -> None:
    await bench.send("d1")
    assert await bench.step() == POLL
    assert bench.state("d1") == ("sent", None, None)
    bench.github.runs[MODELS] = [run(1, "push"), running(2, "d1 iris 7")]
    await bench.step(POLL)
    assert bench.state("d1") == ("running", 2, "https://run/2")
    bench.github.runs[MODELS] = [run(2, "d1 iris 7")]
    await bench.step(POLL)
    assert bench.state("d1") == ("succeeded", 2, "https://run/2")
    bench.github.asked.clear()
    await bench.step(WAITS.rerun_check)
    assert bench.github.asked == []


async def test_the_runs_of_all_dispatches_take_one_list(bench: Bench) -> None:
    for number in range(30):
        await bench.send(f"d{number:02}", at=NOW - number)
    bench.github.runs[MODELS] = [running(number, f"d{number:02} x") for number in range(30)]
    await bench.step()
    assert bench.github.asked == [f"list {MODELS} 1"]
    assert bench.github.since == [NOW - 29]
    assert bench.rows("select distinct state from dispatches") == [("running",)]


async def test_nothing_is_asked_where_nothing_is_open(bench: Bench) -> None:
    await bench.step()
    assert bench.github.asked == []


async def test_the_list_is_read_only_as_far_as_it_is_needed(bench: Bench) -> None:
    bench.github.size = 2
    bench.github.runs[MODELS] = [running(number, f"other {number}") for number in range(9)]
    bench.github.runs[MODELS][4] = running(4, "d1 x")
    await bench.send("d1")
    await bench.step()
    assert len(bench.github.asked) == 3
    assert bench.state("d1")[0] == "running"


async def test_a_known_run_that_is_far_down_the_list_is_read_by_its_id(bench: Bench) -> None:
    bench.github.size = 2
    bench.github.runs[MODELS] = [running(number, f"other {number}") for number in range(9)]
    bench.github.hidden[99] = run(99, "d1 x")
    await bench.send("d1", run_id=99)
    await bench.step()
    assert bench.github.asked == [f"list {MODELS} 1", "read 99"]
    assert bench.state("d1")[0] == "succeeded"


async def test_no_run_within_ten_minutes_is_unseen_and_a_late_run_shows_all_the_same(bench: Bench) -> None:
    await bench.send("d1")
    await bench.step(UNSEEN_AFTER - 1)
    assert bench.state("d1")[0] == "sent"
    await bench.step(1)
    assert bench.state("d1")[0] == "unseen"
    ((reason,),) = bench.rows("select reason from dispatches")
    assert "default branch" in reason
    bench.github.runs[MODELS] = [running(2, "d1 x")]
    await bench.step(WAITS.rerun_check)
    assert bench.state("d1") == ("running", 2, "https://run/2")


async def test_a_list_that_does_not_reach_back_makes_nothing_unseen(bench: Bench) -> None:
    bench.github.endless = True
    await bench.send("d1")
    await bench.step(UNSEEN_AFTER)
    assert bench.state("d1")[0] == "sent"


@pytest.mark.parametrize("conclusion", ["failure", "cancelled"])
async def test_what_ended_badly_is_checked_again_for_seven_days(bench: Bench, conclusion: str) -> None:
    await bench.send("d1")
    bench.github.runs[MODELS] = [run(1, "d1 x", conclusion=conclusion)]
    await bench.step()
    bench.github.runs[MODELS] = [running(1, "d1 x")]
    await bench.step(WAITS.rerun_check - 1)
    assert bench.state("d1")[0] in ("failed", "cancelled")
    await bench.step(1)
    assert bench.state("d1")[0] == "running"
    bench.github.runs[MODELS] = [run(1, "d1 x", conclusion=conclusion)]
    await bench.step(POLL)
    bench.github.runs[MODELS] = [run(1, "d1 x")]
    await bench.step(7 * DAY - 1)
    assert bench.state("d1")[0] == "succeeded"


async def test_what_ended_badly_more_than_seven_days_ago_is_left_alone(bench: Bench) -> None:
    await bench.send("d1")
    bench.github.runs[MODELS] = [run(1, "d1 x", conclusion="failure")]
    await bench.step()
    bench.github.runs[MODELS] = [run(1, "d1 x")]
    await bench.step(7 * DAY + 1)
    assert bench.state("d1")[0] == "failed"


async def test_a_cancelled_run_made_way_where_a_newer_dispatch_for_the_model_was_sent(bench: Bench) -> None:
    for number in (1, 2):
        event = Event(EventKind.ALIAS_CREATED, "iris", str(number), alias="champion")
        dispatch = Dispatch(f"d{number}", "environment", MODELS, "type", "{}")
        await bench.ledger.accept(Delivery(f"e{number}", event, NOW), [dispatch])
        await bench.ledger.write(lanes.acquire, LANE, "test", now=NOW, seconds=60)
        pending = await bench.ledger.read(lanes.next_pending, now=0.0)
        assert pending is not None
        sending = await bench.ledger.write(lanes.begin_sending, pending, "test", now=NOW + number, settle=120)
        assert sending is not None
        await bench.ledger.write(lanes.settle, sending, Sent(), "test", now=NOW + number, lane_next_at=0)
    bench.github.runs[MODELS] = [run(1, "d1 x", conclusion="cancelled"), run(2, "d2 x", conclusion="cancelled")]
    await bench.step(10)
    assert (bench.state("d1")[0], bench.state("d2")[0]) == ("superseded", "cancelled")
    assert [state for state, _ in bench.ended] == ["superseded", "cancelled"]


async def test_a_token_that_may_not_read_actions_is_a_problem_and_nothing_becomes_unseen(bench: Bench) -> None:
    message = "the runs of owner/models can't be seen (403): give actions=read"
    bench.github.failure[MODELS] = ActionsUnreadable(Answer(403, {}, "no"), message)
    await bench.send("d1")
    await bench.step(UNSEEN_AFTER)
    assert bench.follower.problems == {MODELS: message}
    assert bench.state("d1")[0] == "sent"
    bench.github.failure.clear()
    bench.github.runs[MODELS] = [running(1, "d1 x")]
    await bench.step(61)
    assert bench.follower.problems == {}
    assert bench.state("d1")[0] == "running"


async def test_one_repository_that_cannot_be_read_holds_up_no_other(bench: Bench) -> None:
    bench.github.failure["owner/bad"] = RunLookupFailed(NotSent("ConnectError"))
    bench.github.runs[MODELS] = [running(1, "d2 x")]
    await bench.send("d1", repository="owner/bad")
    await bench.send("d2")
    await bench.step()
    assert bench.state("d2")[0] == "running"
    assert set(bench.follower.problems) == {"owner/bad"}


async def test_failures_are_asked_about_ever_less_often(bench: Bench) -> None:
    bench.github.failure[MODELS] = RunLookupFailed(Answer(502))
    await bench.send("d1")
    for _ in range(80):
        await bench.step(POLL)
    assert 5 < len(bench.github.asked) < 15


async def test_a_rate_limit_is_waited_for_as_long_as_github_says(bench: Bench) -> None:
    bench.github.failure[MODELS] = RunLookupFailed(Answer(403, {"retry-after": "100"}))
    await bench.send("d1")
    await bench.step()
    await bench.step(99)
    assert len(bench.github.asked) == 1
    await bench.step(1)
    assert len(bench.github.asked) == 2


async def test_at_a_runs_end_the_image_is_read_from_mlflow(bench: Bench) -> None:
    await bench.send("d1")
    bench.github.runs[MODELS] = [running(1, "d1 x")]
    await bench.step()
    assert bench.mlflow.asked == 0
    bench.github.runs[MODELS] = [run(1, "d1 x")]
    await bench.step(POLL)
    query = "select model, version, image_uri, image_status from versions"
    assert bench.rows(query) == [("model-d1", "7", "ghcr.io/a/iris@sha256:1", "pushed")]
    await bench.step(POLL)
    assert bench.mlflow.asked == 1


async def test_an_mlflow_that_is_down_delays_the_image_and_no_run(bench: Bench) -> None:
    bench.mlflow.failure = MlflowUnreachable("down")
    for number in (1, 2):
        await bench.send(f"d{number}")
    bench.github.runs[MODELS] = [run(1, "d1 x"), run(2, "d2 x", conclusion="failure")]
    await bench.step()
    assert (bench.state("d1")[0], bench.state("d2")[0]) == ("succeeded", "failed")
    assert bench.mlflow.asked == 1
    bench.mlflow.failure = None
    await bench.step(POLL)
    assert bench.rows("select count(*) from versions") == [(2,)]


async def test_a_model_that_mlflow_shows_us_not_hides_no_other_models_images(bench: Bench) -> None:
    bench.mlflow.refused = {"model-d1"}
    for number in (1, 2):
        await bench.send(f"d{number}")
    bench.github.runs[MODELS] = [run(1, "d1 x"), run(2, "d2 x")]
    await bench.step()
    assert bench.rows("select model from versions where image_uri is not null") == [("model-d2",)]
    bench.mlflow.refused = set()
    await bench.step(POLL)
    assert bench.rows("select count(*) from versions where image_uri is not null") == [(2,)]


async def test_a_version_that_was_deleted_has_no_image(bench: Bench) -> None:
    bench.mlflow.failure = MlflowNotFound("gone")
    await bench.send("d1")
    bench.github.runs[MODELS] = [run(1, "d1 x")]
    await bench.step()
    await bench.step(POLL)
    assert (bench.mlflow.asked, bench.rows("select count(*) from versions where read_at > 0")) == (1, [(0,)])


async def test_without_mlflow_runs_are_followed_all_the_same(bench: Bench) -> None:
    await bench.send("d1")
    bench.github.runs[MODELS] = [run(1, "d1 x")]
    await Follower(bench.ledger, bench.github, interval=POLL, clock=bench.clock).step()
    assert bench.state("d1")[0] == "succeeded"


async def test_of_two_followers_one_asks_github_until_it_is_gone(bench: Bench) -> None:
    await bench.send("d1")
    other = bench.another()
    await bench.step()
    await other.step()
    assert len(bench.github.asked) == 1
    await bench.follower.end()
    await other.step()
    assert len(bench.github.asked) == 2
    assert await bench.ledger.write(lanes.acquire, FOLLOWER, "third", now=NOW, seconds=POLL + 60) is None
    bench.clock.now += 3600
    await bench.step()
    assert len(bench.github.asked) == 3


async def test_what_another_follower_took_over_is_no_problem_here_any_more(bench: Bench) -> None:
    bench.github.failure[MODELS] = RunLookupFailed(Answer(502))
    await bench.send("d1")
    await bench.step()
    await bench.follower.end()
    await bench.another().step()
    await bench.step(POLL)
    assert bench.follower.problems == {}


async def test_the_first_end_of_a_run_is_reported_with_the_seconds_since_the_delivery(bench: Bench) -> None:
    await bench.send("d1")
    bench.github.runs[MODELS] = [run(1, "d1 x", conclusion="failure")]
    for _ in range(3):
        await bench.step(WAITS.rerun_check)
    bench.github.runs[MODELS] = [run(1, "d1 x")]
    await bench.step(WAITS.rerun_check)
    assert bench.state("d1")[0] == DispatchState.SUCCEEDED
    assert bench.ended == [("failed", WAITS.rerun_check)]


@pytest.fixture
async def anywhere(database_url: str) -> AsyncIterator[Bench]:
    """A bench on each kind of database."""
    bench = Bench(database_url)
    await bench.ledger.start()
    yield bench
    await bench.ledger.close()


NASTY = ["a\0b", "\x1b[2J\n\r", "x" * 5_000_000]


@pytest.mark.parametrize("nasty", NASTY, ids=["nul", "control", "long"])
async def test_a_tag_of_one_version_that_no_database_could_hold_stops_nobody(anywhere: Bench, nasty: str) -> None:
    bench, good = anywhere, dict(anywhere.mlflow.tags)
    versions = {"model-d1": nasty, "model-d2": good["image.uri"]}

    def version(name: str, number: str) -> ModelVersion:
        tags = [{"key": "image.uri", "value": versions[name]}, {"key": nasty, "value": nasty}]
        return ModelVersion.model_validate({"name": name, "version": number, "tags": tags})

    bench.mlflow.version = version  # type: ignore[method-assign, assignment]
    for number in (1, 2):
        await bench.send(f"d{number}")
    bench.github.runs[MODELS] = [run(1, "d1 x"), run(2, "d2 x")]
    await bench.step()
    assert bench.rows("select distinct state from dispatches") == [("succeeded",)]
    kept = dict(bench.rows("select model, image_uri from versions"))
    assert kept["model-d2"] == good["image.uri"]
    assert kept["model-d1"].isprintable()
    assert len(kept["model-d1"]) < 5_000


@pytest.mark.parametrize("nasty", NASTY, ids=["nul", "control", "long"])
async def test_a_run_whose_texts_no_database_could_hold_is_followed(anywhere: Bench, nasty: str) -> None:
    bench = anywhere
    for number in (1, 2):
        await bench.send(f"d{number}")
    texts = {"html_url": nasty, "display_title": f"d1 {nasty}", "status": "completed", "conclusion": nasty}
    bench.github.runs[MODELS] = [Run.model_validate({"id": 1, **texts}), run(2, "d2 x")]
    await bench.step()
    assert (bench.state("d1")[0], bench.state("d2")[0]) == ("failed", "succeeded")
    ((url, reason),) = bench.rows("select run_url, reason from dispatches where id = 'd1'")
    assert url.isprintable()
    assert reason.isprintable()
    assert len(url) < 5_000


async def test_a_run_that_cannot_be_recorded_ends_its_dispatch_alone_and_is_a_problem(anywhere: Bench) -> None:
    bench = anywhere
    for number in (1, 2):
        await bench.send(f"d{number}")
    bad = Run.model_construct(id=2**70, html_url="u", display_title="d1 x", status="in_progress", conclusion=None)
    bench.github.runs[MODELS] = [bad, running(2, "d2 x")]
    for _ in range(3):
        await bench.step(POLL)
    assert (bench.state("d1")[0], bench.state("d2")[0]) == ("sent", "running")
    assert set(bench.follower.problems) == {"d1"}
    bench.github.runs[MODELS] = [bad, run(2, "d2 x")]
    bench.github.asked.clear()
    await bench.step(POLL)
    assert bench.state("d2")[0] == "succeeded"
    await bench.step(POLL)
    assert bench.github.asked == [f"list {MODELS} 1"]  # nothing is asked for d1 alone


async def test_a_repository_that_cannot_be_asked_at_all_holds_up_no_other(bench: Bench) -> None:
    bench.github.failure["owner/bad"] = ValueError("not even an address")  # type: ignore[assignment]
    bench.github.runs[MODELS] = [running(1, "d2 x")]
    await bench.send("d1", repository="owner/bad")
    await bench.send("d2")
    await bench.step()
    assert bench.state("d2")[0] == "running"
    assert set(bench.follower.problems) == {"owner/bad"}
    await bench.step(POLL)
    assert bench.github.asked.count("list owner/bad 1") == 1
    del bench.github.failure["owner/bad"]
    bench.github.runs["owner/bad"] = [running(1, "d1 x")]
    await bench.step(WAITS.rerun_check)
    assert (bench.state("d1")[0], bench.follower.problems) == ("running", {})


async def test_a_version_that_mlflow_cannot_give_is_asked_for_after_all_others(bench: Bench) -> None:
    good = bench.mlflow.tags

    def version(name: str, number: str) -> ModelVersion:
        if name == "model-d1":
            raise MlflowAnswerUnreadable("not JSON")
        return ModelVersion(name=name, version=number, tags=good)

    bench.mlflow.version = version  # type: ignore[method-assign, assignment]
    for number in (1, 2, 3):
        await bench.send(f"d{number}")
    bench.github.runs[MODELS] = [run(number, f"d{number} x") for number in (1, 2, 3)]
    await bench.step()
    await bench.step(POLL)
    read = bench.rows("select model from versions where image_uri is not null order by model")
    assert read == [("model-d2",), ("model-d3",)]


async def test_a_version_whose_tags_are_too_large_is_not_asked_for_again(bench: Bench) -> None:
    bench.mlflow.failure = MlflowAnswerTooLarge("too large")
    for number in (1, 2):
        await bench.send(f"d{number}")
    bench.github.runs[MODELS] = [run(1, "d1 x"), run(2, "d2 x")]
    for _ in range(3):
        await bench.step(POLL)
    assert bench.mlflow.asked == 2
