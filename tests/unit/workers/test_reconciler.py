"""The reconciler on a real ledger, with a registry in memory and a clock that is set by hand."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from bridge.core import missed_events
from bridge.core.events import Event, EventKind
from bridge.core.missed_events import CLOCKS, GRACE, OVERLAP
from bridge.core.routing import Route
from bridge.ledger import RECONCILER, Delivery, Ledger, bookmarks, lanes
from bridge.mlflow.client import MlflowApi, MlflowUnreachable, RecentVersion, RegisteredModel, Skipped
from bridge.workers.reconciler import ALIASES, VERSIONS, Reconciler

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
INTERVAL = 300.0
ROUTES = (Route("environment", "owner/models", "type"),)
ONLY_CHAMPIONS = Route("champions", "owner/deploy", "type", frozenset({EventKind.ALIAS_CREATED}), alias="champion")


class Clock:
    """A clock that only the test moves."""

    now = NOW

    def __call__(self) -> float:
        return self.now


class Registry(MlflowApi):
    """A registry in memory, whose clock is `ahead` seconds ahead of ours; fails with `failure` where there is one."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ahead = 0.0
        self.versions: list[RecentVersion] = []
        self.models: dict[str, dict[str, str]] = {}
        self.failure: Exception | None = None
        self.hidden: set[tuple[str, str]] = set()
        self.asked_since: list[int] = []

    def create(self, name: str, version: str, at: float | None = None) -> None:
        created = int(((at or self.clock.now) + self.ahead) * 1000)
        told = {"name": name, "version": version, "creation_timestamp": created, "source": f"models:/{name}"}
        self.versions.append(RecentVersion.model_validate(told))
        self.models.setdefault(name, {})

    def recent_versions(self, since: int) -> Iterator[RecentVersion | Skipped]:
        self.asked_since.append(since)
        if self.failure:
            raise self.failure
        newest = sorted(self.versions, key=lambda version: -version.created)
        return (each for each in newest if each.created >= since and (each.name, each.version) not in self.hidden)

    def registered_models(self) -> Iterator[RegisteredModel]:
        if self.failure:
            raise self.failure
        for name, aliases in self.models.items():
            yield RegisteredModel(name=name).model_copy(update={"aliases": dict(aliases)})


class Bench:
    """A reconciler with all around it."""

    def __init__(self, url: str) -> None:
        self.ledger = Ledger(url)
        self.clock = Clock()
        self.registry = Registry(self.clock)
        self.woken = 0
        self.reconciler = self.another()

    def another(self, routes: tuple[Route, ...] = ROUTES, since: float | None = None) -> Reconciler:
        return Reconciler(
            self.ledger,
            self.registry,
            routes,
            interval=INTERVAL,
            since=since,
            imported=self.wake,
            clock=self.clock,
        )

    def wake(self) -> None:
        self.woken += 1

    async def compare(self, seconds: float = INTERVAL) -> None:
        """Let time pass, and compare."""
        self.clock.now += seconds
        await self.reconciler.step()

    async def deliver(
        self, model: str, version: str, alias: str | None = None, delivery_id: str = "", at: float | None = None
    ) -> None:
        """Store a delivery that MLflow made."""
        kind = EventKind.ALIAS_CREATED if alias else EventKind.VERSION_CREATED
        now = self.clock.now if at is None else at
        delivery_id = delivery_id or f"mlflow's, {model} {version} {alias} {now}"
        await self.ledger.accept(Delivery(delivery_id, Event(kind, model, version, alias=alias), now), [])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.ledger._database.reading() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    @property
    def sent(self) -> list[tuple[Any, ...]]:
        """Model, version and alias of each dispatch, in the order of their acceptance."""
        return self.rows(
            "select model, version, alias from dispatches join deliveries on deliveries.id = delivery_id "
            "order by dispatches.id"
        )


def problem_of(bench: Bench) -> str | None:
    return bench.reconciler.problem


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(f"sqlite:///{tmp_path}/ledger.db")
    await bench.ledger.start()
    yield bench
    await bench.ledger.close()


@pytest.fixture
async def begun(bench: Bench) -> Bench:
    """A bench whose first comparison is over: the registry held one version with an alias."""
    bench.registry.create("old", "1", NOW - 86_400)
    bench.registry.models["old"]["champion"] = "1"
    await bench.compare(0)
    return bench


async def test_the_first_check_imports_nothing(begun: Bench) -> None:
    assert begun.sent == []
    await begun.compare()
    assert begun.sent == []


async def test_a_version_that_no_delivery_reported_is_imported_once_and_wakes_the_dispatcher(begun: Bench) -> None:
    begun.registry.create("iris", "1")
    for _ in range(5):
        await begun.compare()
    assert begun.sent == [("iris", "1", None)]
    assert begun.woken == 1
    assert begun.rows("select kind, source from deliveries") == [("model_version.created", "models:/iris")]


async def test_a_version_is_left_to_its_delivery_for_two_minutes(begun: Bench) -> None:
    begun.clock.now += INTERVAL
    begun.registry.create("iris", "1", begun.clock.now - GRACE + 1)
    await begun.compare(0)
    assert begun.sent == []
    await begun.compare()
    assert begun.sent == [("iris", "1", None)]


async def test_a_version_that_a_delivery_reported_is_not_imported(begun: Bench) -> None:
    begun.registry.create("iris", "1")
    await begun.deliver("iris", "1")
    await begun.compare()
    assert begun.sent == []


async def test_an_aliass_delivery_does_not_stand_for_its_version(begun: Bench) -> None:
    begun.registry.create("iris", "1")
    await begun.deliver("iris", "1", "champion")
    await begun.compare()
    assert begun.sent == [("iris", "1", None)]


async def test_a_version_that_was_deleted_and_made_again_is_another_one(begun: Bench) -> None:
    await begun.deliver("iris", "1")
    begun.clock.now += 2 * CLOCKS
    begun.registry.create("iris", "1")
    await begun.compare()
    assert begun.sent == [("iris", "1", None)]
    begun.clock.now += 2 * CLOCKS
    begun.registry.versions.pop()
    begun.registry.create("iris", "1")
    await begun.compare()
    await begun.compare()
    assert begun.sent == [("iris", "1", None)] * 2


async def test_an_outage_is_caught_up_oldest_first(begun: Bench) -> None:
    for number in range(1, 201):
        begun.registry.create("iris", str(number), NOW + number)
    await begun.compare(86_400)
    assert begun.sent == [("iris", str(number), None) for number in range(1, 201)]
    await begun.compare()
    assert len(begun.sent) == 200


async def test_a_version_that_a_page_left_out_is_found_by_the_next_check(begun: Bench) -> None:
    begun.registry.create("iris", "1", NOW + 1)
    begun.registry.create("iris", "2", NOW + 86_000)
    begun.registry.hidden.add(("iris", "1"))
    await begun.compare(90_000)
    begun.registry.hidden.clear()
    await begun.compare()
    assert begun.sent == [("iris", "2", None), ("iris", "1", None)]


async def test_a_version_that_was_committed_late_is_found_within_the_overlap(begun: Bench) -> None:
    for number in range(1, 4):
        begun.registry.create("iris", str(number))
        await begun.compare()
    begun.registry.create("late", "1", begun.clock.now - INTERVAL - OVERLAP + 600)
    await begun.compare()
    assert ("late", "1", None) in begun.sent


async def test_checks_reach_no_further_back_than_they_must(begun: Bench) -> None:
    for number in range(1, 40):
        begun.registry.create("iris", str(number))
        await begun.compare()
    newest = begun.clock.now - INTERVAL
    assert begun.registry.asked_since[-1] >= (newest - OVERLAP - 2 * INTERVAL) * 1000


async def test_since_reaches_behind_the_first_start(bench: Bench) -> None:
    for day in range(1, 4):
        bench.registry.create("iris", str(4 - day), NOW - day * 86_400)
    bench.registry.models["iris"]["champion"] = "3"
    bench.registry.models["iris"]["old"] = "1"
    bench.reconciler = bench.another(since=NOW - 2 * 86_400 - 10)
    await bench.compare(0)
    await bench.compare()
    await bench.compare()
    assert bench.sent == [("iris", "2", None), ("iris", "3", None)]


async def test_since_counts_at_the_first_start_alone(begun: Bench) -> None:
    begun.reconciler = begun.another(since=NOW - 10 * 86_400)
    await begun.reconciler.step()
    await begun.compare()
    assert begun.sent == []


@pytest.mark.parametrize("ahead", [-3600.0, -1800.0, 1800.0, 3600.0])
async def test_a_clock_that_is_an_hour_off_loses_nothing_and_doubles_nothing(bench: Bench, ahead: float) -> None:
    bench.registry.ahead = ahead
    bench.registry.create("old", "1", NOW - 86_400)
    await bench.compare(0)
    for number in range(1, 30):
        bench.registry.create("iris", str(number))
        await bench.compare()
    for _ in range(15):
        await bench.compare()
    assert sorted(int(version) for _, version, _ in bench.sent) == list(range(1, 30))


async def test_a_moved_alias_is_imported_once_after_two_minutes(begun: Bench) -> None:
    begun.registry.models["old"]["champion"] = "2"
    await begun.compare()
    assert begun.sent == []
    await begun.compare(GRACE)
    assert begun.sent == [("old", "2", "champion")]
    for _ in range(3):
        await begun.compare()
    assert len(begun.sent) == 1


async def test_a_suspicion_is_checked_before_the_interval_is_over(begun: Bench) -> None:
    begun.registry.models["old"]["challenger"] = "1"
    begun.clock.now += INTERVAL
    assert await begun.reconciler.step() <= 20
    for _ in range(7):
        await begun.compare(20)
    assert begun.sent == [("old", "1", "challenger")]


async def test_an_alias_that_a_delivery_reported_is_not_imported(begun: Bench) -> None:
    begun.registry.models["old"]["champion"] = "2"
    await begun.compare()
    await begun.deliver("old", "2", "champion")
    await begun.compare()
    await begun.compare()
    assert begun.sent == []


async def test_of_an_aliass_deliveries_the_newest_counts(begun: Bench) -> None:
    await begun.deliver("old", "2", "champion")
    begun.clock.now += 1
    await begun.deliver("old", "3", "champion")
    begun.registry.models["old"]["champion"] = "2"  # moved back, and that delivery was lost
    await begun.compare()
    await begun.compare()
    assert begun.sent == [("old", "2", "champion")]


async def test_an_alias_that_moves_to_and_fro_is_imported_each_time(begun: Bench) -> None:
    for version in ("2", "1", "2", "1"):
        begun.registry.models["old"]["champion"] = version
        await begun.compare()
        await begun.compare()
    assert [version for _, version, _ in begun.sent] == ["2", "1", "2", "1"]


async def test_an_alias_that_moves_on_meanwhile_is_imported_where_it_comes_to_rest(begun: Bench) -> None:
    for version in ("2", "3", "4"):
        begun.registry.models["old"]["champion"] = version
        await begun.compare(GRACE / 2)
        begun.reconciler.wake()
    await begun.compare()
    await begun.compare()
    assert begun.sent == [("old", "4", "champion")]


async def test_a_versions_event_covers_its_aliases(begun: Bench) -> None:
    begun.registry.create("iris", "1")
    begun.registry.models["iris"] |= {"champion": "1", "latest": "1"}
    for _ in range(4):
        await begun.compare()
    assert begun.sent == [("iris", "1", None)]


async def test_an_alias_that_is_taken_back_from_a_version_that_covered_it_is_imported(begun: Bench) -> None:
    begun.registry.models["old"]["champion"] = "2"
    await begun.compare()
    await begun.compare()
    begun.registry.create("old", "3")
    begun.registry.models["old"]["champion"] = "3"
    await begun.compare()
    await begun.compare()
    begun.registry.models["old"]["champion"] = "2"
    await begun.compare()
    await begun.compare()
    assert begun.sent == [("old", "2", "champion"), ("old", "3", None), ("old", "2", "champion")]


async def test_a_delivered_versions_event_covers_no_alias_that_was_set_later(begun: Bench) -> None:
    begun.registry.create("iris", "1")
    await begun.deliver("iris", "1")
    begun.registry.models["iris"]["champion"] = "1"
    for _ in range(3):
        await begun.compare()
    assert begun.sent == [("iris", "1", "champion")]


async def test_a_versions_event_covers_no_alias_that_has_another_route(begun: Bench) -> None:
    begun.reconciler = begun.another((*ROUTES, ONLY_CHAMPIONS))
    await begun.reconciler.end()
    begun.registry.create("iris", "1")
    begun.registry.models["iris"] |= {"champion": "1", "latest": "1"}
    begun.clock.now += 3600
    for _ in range(4):
        await begun.compare()
    query = "select alias, repository from dispatches join deliveries d on d.id = delivery_id order by dispatches.id"
    assert begun.rows(query) == [(None, "owner/models"), ("champion", "owner/models"), ("champion", "owner/deploy")]


async def test_what_no_route_wants_is_not_written_down(begun: Bench) -> None:
    begun.reconciler = begun.another((ONLY_CHAMPIONS,))
    begun.clock.now += 3600
    begun.registry.create("iris", "1", begun.clock.now - GRACE)
    begun.registry.models["iris"]["latest"] = "1"
    for _ in range(3):
        await begun.compare()
    assert begun.rows("select count(*) from deliveries") == [(0,)]


async def test_two_reconcilers_on_one_ledger_import_everything_once(begun: Bench) -> None:
    other = begun.another()
    begun.registry.create("iris", "1")
    begun.registry.models["old"]["champion"] = "2"
    for _ in range(4):
        await begun.compare()
        await begun.reconciler.end()
        await other.step()
        await other.end()
    assert sorted(begun.sent) == [("iris", "1", None), ("old", "2", "champion")]


async def test_the_ids_are_made_of_what_they_say_so_that_a_lost_bookmark_doubles_nothing(begun: Bench) -> None:
    begun.registry.create("iris", "1")
    kept = [(name, await begun.ledger.read(bookmarks.read_bookmark, name)) for name in (VERSIONS, ALIASES)]
    begun.registry.models["old"]["champion"] = "2"
    await begun.compare()
    await begun.compare()
    for name, text in kept:
        assert text is not None
        await begun.ledger.write(bookmarks.write_bookmark, name, text)
    await begun.compare()
    await begun.compare()
    assert sorted(begun.sent) == [("iris", "1", None), ("old", "2", "champion")]


async def test_an_mlflow_that_is_down_is_a_problem_until_it_is_back(begun: Bench) -> None:
    begun.registry.failure = MlflowUnreachable("MLflow can't be reached: check MLFLOW_TRACKING_URI")
    await begun.compare()
    assert problem_of(begun) == "MLflow can't be reached: check MLFLOW_TRACKING_URI"
    begun.registry.failure = None
    begun.registry.create("iris", "1", NOW)
    await begun.compare(60)
    assert not problem_of(begun)
    assert begun.sent == [("iris", "1", None)]


async def test_a_bookmark_that_cannot_be_read_is_a_problem_that_says_what_to_do(begun: Bench) -> None:
    await begun.ledger.write(bookmarks.write_bookmark, VERSIONS, "{}")
    await begun.compare()
    assert "delete this row" in str(begun.reconciler.problem)


async def test_the_lease_is_kept_between_two_checks_and_released_at_the_end(begun: Bench) -> None:
    other = begun.another()
    begun.registry.create("iris", "1")
    begun.clock.now += INTERVAL
    for _ in range(10):
        await begun.reconciler.step()
        begun.clock.now += 20
        await other.step()
    assert begun.sent == [("iris", "1", None)]
    assert await begun.ledger.write(lanes.acquire, RECONCILER, "third", now=begun.clock.now, seconds=60) is None
    await begun.reconciler.end()
    assert await begun.ledger.write(lanes.acquire, RECONCILER, "third", now=begun.clock.now, seconds=60) is not None


async def test_names_that_no_delivery_could_hold_and_payloads_that_github_would_not_take_stop_nothing(
    begun: Bench,
) -> None:
    begun.registry.create("a\x00b", "1")
    begun.registry.create("x" * 70_000, "1")
    begun.registry.create("long", "1")
    begun.registry.create("iris", "1")
    begun.registry.models["a\x00b"]["champion"] = "1"
    large = Route("large", "owner/models", "type", model="long", inputs={"x": "x" * 70_000})
    await begun.reconciler.end()
    begun.reconciler = begun.another((Route("environment", "owner/models", "type", model="[!l]*"), large))
    begun.clock.now += INTERVAL
    for _ in range(3):
        await begun.compare()
    assert begun.sent == [("iris", "1", None)]


async def test_a_check_that_takes_longer_than_the_lease_is_nobody_elses_meanwhile(
    begun: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasts, other = 0.9, begun.another()
    monkeypatch.setattr(begun.reconciler._lease, "_seconds", lasts / 3)
    monkeypatch.setattr(begun.clock, "now", begun.clock.now + INTERVAL)
    started = time.monotonic()
    monkeypatch.setattr(Clock, "__call__", lambda clock: clock.now + time.monotonic() - started)
    listing = begun.registry.registered_models

    def slowly() -> Iterator[RegisteredModel]:
        time.sleep(lasts)
        yield from listing()

    monkeypatch.setattr(begun.registry, "registered_models", slowly)
    look = asyncio.create_task(begun.reconciler.step())
    await asyncio.sleep(lasts * 2 / 3)
    assert await other._lease.acquire() is None
    await look


@pytest.fixture
async def anywhere(database_url: str) -> AsyncIterator[Bench]:
    """A bench on each kind of database, whose first comparison is over."""
    bench = Bench(database_url)
    await bench.ledger.start()
    await bench.compare(0)
    yield bench
    await bench.ledger.close()


NAMES = ["a\0b", "a\ud800b", "x" * 1_201]
"""What no database, or no index of one, could hold."""


@pytest.mark.parametrize("name", NAMES, ids=["nul", "surrogate", "long"])
async def test_a_name_that_cannot_be_stored_is_skipped_as_it_is_and_reported_once(anywhere: Bench, name: str) -> None:
    bench = anywhere
    with capture_logs() as logged:
        bench.registry.create(name, "1")
        bench.registry.create("iris", "1" * 5_000)
        bench.registry.create("iris", "1")
        bench.registry.models["iris"] |= {name: "1", "champion": "1"}
        bench.registry.models[name]["champion"] = "1"
        for _ in range(4):
            await bench.compare()
        assert bench.sent == [("iris", "1", None)]
        assert (bench.reconciler.skipped or "").isprintable()
        assert len([line for line in logged if line["log_level"] == "error"]) == 4
    bench.registry.versions.clear()
    bench.registry.models.clear()
    await bench.compare()
    assert bench.reconciler.skipped is None


@pytest.mark.parametrize("version", ["1\0", "\ud800"], ids=["nul", "surrogate"])
async def test_an_earlier_version_that_no_database_stores_stops_nobody(anywhere: Bench, version: str) -> None:
    bench = anywhere
    bench.registry.models["iris"] = {"champion": version}
    bench.registry.models["other"] = {"champion": "1"}
    await bench.ledger.write(bookmarks.write_bookmark, ALIASES, missed_events.write_aliases(bench.registry.models))
    await bench.deliver("iris", "2", "champion")
    bench.registry.models["iris"]["champion"] = "2"
    bench.registry.models["other"]["champion"] = "2"
    for _ in range(3):
        await bench.compare()
    assert bench.sent == [("other", "2", "champion")]


async def test_an_alias_that_cannot_be_dispatched_is_no_reason_to_check_every_second(anywhere: Bench) -> None:
    bench = anywhere
    bench.registry.models["iris"] = {"a\0b": "1"}
    await bench.compare()
    bench.registry.asked_since.clear()
    bench.clock.now += INTERVAL
    for _ in range(20):
        bench.clock.now += await bench.reconciler.step()
    assert len(bench.registry.asked_since) <= 2


async def test_sources_are_cleaned_and_stop_nobody(anywhere: Bench) -> None:
    bench = anywhere
    for number, source in enumerate(["a\0b", "a\ud800b", "x" * 1_000_000, "\x1b[2J"], 1):
        told = {"name": "iris", "version": str(number), "creation_timestamp": NOW * 1000, "source": source}
        bench.registry.versions.append(RecentVersion.model_validate(told | {"run_id": source}))
    await bench.compare()
    assert sorted(version for _, version, _ in bench.sent) == ["1", "2", "3", "4"]
    for source, run_id in bench.rows("select source, run_id from deliveries"):
        assert source.isprintable()
        assert run_id.isprintable()


async def test_an_entry_that_mlflow_could_not_give_is_reported_and_the_others_are_dispatched(begun: Bench) -> None:
    listed = begun.registry.recent_versions

    def with_a_hole(since: int) -> Iterator[RecentVersion | Skipped]:
        yield Skipped("entry 1", "too large")
        yield from listed(since)

    begun.registry.recent_versions = with_a_hole  # type: ignore[method-assign]
    begun.registry.create("iris", "1")
    await begun.compare()
    assert begun.sent == [("iris", "1", None)]
    assert "entry 1" in (begun.reconciler.skipped or "")


async def test_a_version_of_a_time_to_come_hides_none_that_is_registered_later(bench: Bench) -> None:
    bench.registry.create("future", "1", 253_370_000_000.0)
    await bench.compare(0)
    bench.registry.create("iris", "1")
    for _ in range(3):
        await bench.compare()
    assert bench.sent == [("iris", "1", None)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (name, text)
        for name in (VERSIONS, ALIASES)
        for text in ("", "[" * 100_000, '{"floor": 1}', "[]", '"x"', "1" * 6_000)
        if text
    ]
    + [(VERSIONS, f'{{"floor": {value}, "reached": 0, "seen": 0}}') for value in ("NaN", "Infinity", "null", "1e999")]
    + [(ALIASES, text) for text in ('{"iris": {"champion": 1}}', '{"iris": {"champion": null}}', '{"iris": 1}')],
)
async def test_every_bookmark_that_cannot_be_read_is_a_problem_and_no_crash(begun: Bench, name: str, text: str) -> None:
    await begun.ledger.write(bookmarks.write_bookmark, name, text)
    await begun.compare()
    assert "delete this row" in (problem_of(begun) or "")
