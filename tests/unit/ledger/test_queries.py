"""The lists that people read are up to date, in whatever order the loops write."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from bridge.core.dispatches import Decision, Pause, Reject, Retry, Sent
from bridge.core.events import Event, EventKind
from bridge.ledger import (
    Delivery,
    Dispatch,
    DispatchState,
    Filter,
    Ledger,
    LedgerUnavailable,
    RunObservation,
    VersionSummary,
    lanes,
    queries,
    runs,
    versions,
)
from bridge.ledger.accept import replay
from bridge.ledger.schema import deliveries, dispatches
from tests.unit.ledger.rows import ME, NOW, begin, rows
from tests.unit.ledger.test_database import config

pytestmark = pytest.mark.anyio


def event(model: str = "iris", version: str = "1", alias: str | None = None) -> Event:
    return Event(EventKind.ALIAS_CREATED if alias else EventKind.VERSION_CREATED, model, version, alias)


def dispatch(number: int, route: str = "environment") -> Dispatch:
    return Dispatch(f"{number:026}", route, "owner/models", "type", "{}")


async def accept(ledger: Ledger, number: int, what: Event | None = None, *more: int) -> None:
    """Accept delivery `number` with a dispatch of that number, and of any more."""
    sent = [dispatch(each) for each in (number, *more)]
    await ledger.accept(Delivery(f"delivery-{number}", what or event(), NOW + number), sent)


async def settle(ledger: Ledger, decision: Decision, at: float = NOW) -> None:
    """Settle what is due first."""
    assert await ledger.write(lanes.settle, await begin(ledger, at=at), decision, ME, now=at, lane_next_at=at)


async def run(ledger: Ledger, number: int, state: DispatchState, at: float = NOW, reason: str | None = None) -> None:
    assert await ledger.write(
        runs.settle_run, f"{number:026}", RunObservation(state, 70 + number, "https://run", reason, at, at - 5)
    )


async def names(ledger: Ledger, wanted: Filter | None = None) -> list[str]:
    return [f"{row.model} {row.version}" for row in (await ledger.read(queries.list_versions, wanted or Filter())).rows]


async def only(ledger: Ledger) -> VersionSummary:
    (row,) = (await ledger.read(queries.list_versions, Filter())).rows
    return row


async def all_pages(ledger: Ledger, wanted: Filter) -> list[str]:
    """Read the list part by part to its end."""
    found: list[str] = []
    while True:
        part = await ledger.read(queries.list_versions, wanted)
        found += [f"{row.model} {row.version}" for row in part.rows]
        if part.next is None:
            return found
        assert len(part.rows) == wanted.limit
        wanted = replace(wanted, before=part.next)


class TestState:
    async def test_a_version_is_listed_as_soon_as_its_delivery_is_accepted(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        row = await only(ledger)
        assert (row.model, row.version, row.state, row.told_at) == ("iris", "1", DispatchState.PENDING, NOW + 1)
        assert (row.delivery_id, row.dispatch_id, row.image_uri) == ("delivery-1", f"{1:026}", None)

    async def test_what_is_not_written_down_is_not_listed(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        await ledger.accept(Delivery("delivery-1", event("other"), NOW), [dispatch(2)])
        assert await names(ledger) == ["iris 1"]

    async def test_a_known_delivery_beside_new_ones_keeps_none_of_them_off_the_list(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        await asyncio.gather(
            accept(ledger, 1), *(accept(ledger, number, event(version=str(number))) for number in (2, 3))
        )
        assert await names(ledger) == ["iris 3", "iris 2", "iris 1"]

    async def test_it_follows_the_dispatch_to_the_end_of_its_run(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        await settle(ledger, Sent())
        assert (await only(ledger)).state == DispatchState.SENT
        await run(ledger, 1, DispatchState.RUNNING)
        assert ((await only(ledger)).state, (await only(ledger)).run_url) == (DispatchState.RUNNING, "https://run")
        await run(ledger, 1, DispatchState.FAILED, NOW + 1, "the run failed")
        assert ((await only(ledger)).state, (await only(ledger)).reason) == (DispatchState.FAILED, "the run failed")

    async def test_the_newest_delivery_decides_and_moves_the_version_up(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        await settle(ledger, Reject("no"))
        await accept(ledger, 2, event("other"))
        assert await names(ledger) == ["other 1", "iris 1"]
        await accept(ledger, 3, event(alias="champion"))
        assert await names(ledger) == ["iris 1", "other 1"]
        assert [row.state for row in (await ledger.read(queries.list_versions, Filter())).rows] == [
            DispatchState.PENDING,
            DispatchState.PENDING,
        ]

    async def test_the_end_of_an_older_dispatch_changes_nothing(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        await settle(ledger, Sent())
        await accept(ledger, 2, event(alias="champion"))
        await run(ledger, 1, DispatchState.FAILED)
        row = await only(ledger)
        assert (row.state, row.dispatch_id) == (DispatchState.PENDING, f"{2:026}")

    @pytest.mark.parametrize(
        "ends", [(DispatchState.FAILED, DispatchState.SUCCEEDED), (DispatchState.SUCCEEDED, DispatchState.FAILED)]
    )
    async def test_of_several_routes_the_one_that_needs_attention_decides(
        self, ledger: Ledger, ends: Sequence[DispatchState]
    ) -> None:
        await accept(ledger, 1, event(), 2)
        await settle(ledger, Sent())
        await settle(ledger, Sent())
        for number, end in enumerate(ends, 1):
            await run(ledger, number, end)
        row = await only(ledger)
        assert (row.state, row.dispatch_id) == (DispatchState.FAILED, f"{ends.index(DispatchState.FAILED) + 1:026}")
        assert row.latest_id == f"{2:026}"

    async def test_a_delivery_that_comes_late_does_not_undo_a_newer_one(self, ledger: Ledger) -> None:
        await accept(ledger, 5)
        await settle(ledger, Reject("no"))
        await accept(ledger, 3)
        row = await only(ledger)
        assert (row.state, row.latest_id) == (DispatchState.REJECTED, f"{5:026}")
        await settle(ledger, Sent())
        assert (await only(ledger)).state == DispatchState.REJECTED

    async def test_an_image_shows_and_leaves_the_state_alone(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        await ledger.write(versions.write_image, "iris", "1", "ghcr.io/x:1@sha256:1", "pushed", now=NOW)
        row = await only(ledger)
        assert (row.image_uri, row.image_status, row.state) == ("ghcr.io/x:1@sha256:1", "pushed", DispatchState.PENDING)
        await accept(ledger, 2)
        assert (await only(ledger)).image_status == "pushed"

    async def test_an_image_of_a_version_that_nothing_reported_is_not_listed(self, ledger: Ledger) -> None:
        await ledger.write(versions.write_image, "iris", "1", None, None, now=NOW)
        assert await names(ledger) == []
        assert await ledger.read(queries.find_version, "iris", "1") is None

    async def test_a_delivery_that_can_not_be_listed_is_not_accepted_either(self, ledger: Ledger) -> None:
        """So no crash can come between the two."""
        with ledger._database.writing() as connection:
            connection.exec_driver_sql("drop table models")
        with pytest.raises(LedgerUnavailable, match="models"):
            await accept(ledger, 1)
        assert rows(ledger, "select count(*) from deliveries") == [(0,)]

    async def test_rows_are_written_in_one_order_whatever_that_of_the_deliveries(self, ledger: Ledger) -> None:
        """Otherwise two replicas that accept the same versions could wait for each other."""
        written: list[list[tuple[object, ...]]] = []

        def see(_c: object, _cursor: object, statement: str, values: list[Any], *_: object) -> None:
            if statement.startswith("INSERT INTO versions"):
                is_named = isinstance(values[0], dict)
                written.append([(row["model"], row["version"]) if is_named else row[:2] for row in values])

        sa.event.listen(ledger._database._engine, "before_cursor_execute", see)
        about = {number: event("ab"[number % 2], str(number % 7)) for number in range(90, 0, -1)}
        await asyncio.gather(*(accept(ledger, number, what) for number, what in about.items()))
        assert written
        assert max(map(len, written)) > 1
        assert all(keys == sorted(set(keys), key=repr) for keys in written)
        newest = {row.latest_id for row in (await ledger.read(queries.list_versions, Filter())).rows}
        assert newest == {f"{number:026}" for number in range(77, 91)}


class TestList:
    @pytest.fixture
    async def full(self, ledger: Ledger) -> Ledger:
        """30 versions of 3 models, every fifth one rejected."""
        for number in range(1, 31):
            model = ("Team/Iris", "churn", "Iris_2%")[number % 3]
            await accept(ledger, number, event(model, str(number)))
            await settle(ledger, Reject("no") if number % 5 == 0 else Sent())
        return ledger

    async def test_every_version_is_in_one_part_and_newest_first(self, full: Ledger) -> None:
        found = await all_pages(full, Filter(limit=7))
        assert [int(each.split()[1]) for each in found] == list(range(30, 0, -1))

    async def test_one_state(self, full: Ledger) -> None:
        found = await all_pages(full, Filter(DispatchState.REJECTED, limit=2))
        assert [int(each.split()[1]) for each in found] == [30, 25, 20, 15, 10, 5]
        assert await names(full, Filter(DispatchState.WITHDRAWN)) == []

    async def test_a_part_of_the_name_in_any_case(self, full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whichever way the search goes: by each name, or through the list."""
        for names_looked_at in (1000, 0):
            monkeypatch.setattr(queries, "_MAX_NAMES", names_looked_at)
            for limit in (1, 3):
                found = await all_pages(full, Filter(search="IRIS", limit=limit))
                assert [int(each.split()[-1]) for each in found] == [n for n in range(30, 0, -1) if n % 3 != 1]
            found = await all_pages(full, Filter(DispatchState.REJECTED, "iris", limit=3))
            assert [int(each.split()[-1]) for each in found] == [30, 20, 15, 5]

    async def test_signs_that_mean_something_to_the_database_are_letters(self, full: Ledger) -> None:
        for search, count in (("_2%", 10), ("%", 10), ("_", 10), ("/", 10), ("'", 0), ("\\", 0), ("team/i", 10)):
            assert len(await names(full, Filter(search=search))) == count, search

    async def test_letters_of_any_script_have_case(self, ledger: Ledger) -> None:
        await accept(ledger, 1, event("ÉNERGIE Straße 模型"))
        assert await names(ledger, Filter(search="énergie STRASSE 模")) == ["ÉNERGIE Straße 模型 1"]

    async def test_one_model_and_one_version(self, full: Ledger) -> None:
        assert len(await names(full, Filter(model="churn"))) == 10
        assert await names(full, Filter(model="churn", version="4")) == ["churn 4"]
        assert await names(full, Filter(model="chur")) == []

    async def test_a_version_of_any_model(self, full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        for names_looked_at in (1000, 0):
            monkeypatch.setattr(queries, "_MAX_NAMES", names_looked_at)
            for wanted in (
                Filter(version="4"),
                Filter(search="chu", version="4"),
                Filter(search="r", version="4", limit=1),
            ):
                assert await names(full, wanted) == ["churn 4"], (names_looked_at, wanted)
            assert await names(full, Filter(search="iris", version="4")) == []

    async def test_deliveries_newest_first_part_by_part(self, full: Ledger) -> None:
        part = await full.read(queries.list_deliveries, Filter(limit=20))
        rest = await full.read(queries.list_deliveries, Filter(limit=20, before=part.next))
        found = [story.delivery.id for story in part.rows + rest.rows]
        assert found == [f"delivery-{number}" for number in range(30, 0, -1)]
        assert rest.next is None

    async def test_deliveries_of_a_state_and_a_name(self, full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether few deliveries match and are sorted, or many and the list of all is read."""
        for few in (2000, 0):
            monkeypatch.setattr(queries, "_FEW", few)
            for wanted, numbers in (
                (Filter(DispatchState.REJECTED), [30, 25, 20, 15, 10, 5]),
                (Filter(DispatchState.REJECTED, search="IRIS"), [30, 20, 15, 5]),
                (Filter(model="churn", version="4"), [4]),
                (Filter(model="churn", limit=2), [28, 25]),
                (Filter(model="churn", before=f"{6:026}"), [4, 1]),
            ):
                found = [story.delivery.id for story in (await full.read(queries.list_deliveries, wanted)).rows]
                assert found == [f"delivery-{number}" for number in numbers], (few, wanted)

    async def test_no_query_reads_a_whole_table(self, tmp_path: Path) -> None:
        ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
        await ledger.start()
        await accept(ledger, 1)
        asked: list[tuple[str, object]] = []

        def ask(_c: object, _cursor: object, statement: str, values: object, *_: object) -> None:
            asked.append((statement, values))

        sa.event.listen(ledger._database._engine, "before_cursor_execute", ask)
        for wanted in (
            Filter(),
            Filter(DispatchState.FAILED),
            Filter(search="iris"),
            Filter(DispatchState.PENDING, "iris", before="9"),
        ):
            await ledger.read(queries.list_versions, wanted)
            await ledger.read(queries.list_deliveries, wanted)
        await ledger.read(queries.find_version, "iris", "1")
        sa.event.remove(ledger._database._engine, "before_cursor_execute", ask)
        with ledger._database.reading() as connection:
            plans = [
                str(row[3])
                for statement, values in asked
                if statement.startswith("SELECT")
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
            ]
        await ledger.close()
        read = [plan for plan in plans if any(name in plan for name in ("versions", "deliveries", "dispatches"))]
        assert len(read) > 12
        assert [plan for plan in read if " USING " not in plan] == []


class TestStory:
    async def test_every_delivery_dispatch_and_attempt_is_returned(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        await settle(ledger, Retry(NOW + 1, "502"), NOW)
        await settle(ledger, Sent(7), NOW + 1)
        await run(ledger, 1, DispatchState.RUNNING, NOW + 9)
        await run(ledger, 1, DispatchState.SUCCEEDED, NOW + 20)
        await accept(ledger, 2, event(alias="champion"))
        found = await ledger.read(queries.find_version, "iris", "1")
        assert found is not None
        alias, version = found[1]
        assert (alias.delivery.event.alias, version.delivery.event.kind) == ("champion", EventKind.VERSION_CREATED)
        (sent,) = version.dispatches
        assert [(one.first_at, one.outcome, one.answer) for one in sent.answers] == [
            (NOW, "failed", "502"),
            (NOW + 1, "accepted", "GitHub accepted it and started run 7"),
        ]
        assert (sent.sent_at, sent.started_at, sent.ended_at) == (NOW + 1, NOW + 15, NOW + 20)
        assert await ledger.read(queries.find_delivery, "delivery-1") == version

    async def test_the_same_answer_again_is_counted_and_fills_no_table(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        for number in range(5):
            await settle(ledger, Pause(NOW, "401"), NOW + number)
        await settle(ledger, Retry(NOW, "502"), NOW + 4)
        await settle(ledger, Retry(NOW, "503"), NOW + 4)
        story = await ledger.read(queries.find_delivery, "delivery-1")
        assert story is not None
        told = [(one.outcome, one.answer, one.times, one.last_at) for one in story.dispatches[0].answers]
        assert told[0] == ("paused", "401", 5, NOW + 4)
        assert [each[1] for each in told] == ["401", "502", "503"]

    async def test_there_is_no_story_of_what_is_not_there(self, ledger: Ledger) -> None:
        assert await ledger.read(queries.find_delivery, "delivery-1") is None

    async def test_a_replay_is_a_new_dispatch_of_the_same_delivery(self, ledger: Ledger) -> None:
        await accept(ledger, 1)
        await settle(ledger, Reject("no"))
        await ledger.write(replay, "delivery-1", [dispatch(9)], now=NOW + 50)
        row = await only(ledger)
        assert (row.state, row.dispatch_id, row.told_at) == (DispatchState.PENDING, f"{9:026}", NOW + 50)
        story = await ledger.read(queries.find_delivery, "delivery-1")
        assert story is not None
        assert [sent.state for sent in story.dispatches] == [DispatchState.PENDING, DispatchState.REJECTED]
        due = await ledger.read(lanes.next_pending, now=NOW)
        assert due is not None
        assert (due.id, due.attempts, due.created_at) == (f"{9:026}", 0, NOW + 50)

    async def test_a_replay_takes_the_place_of_what_still_waits(self, ledger: Ledger) -> None:
        await accept(ledger, 1, event(), 2)
        await accept(ledger, 3, event(version="3"))
        await settle(ledger, Sent())
        await settle(ledger, Pause(NOW + 60, "moved", repository_only=True))
        await ledger.write(replay, "delivery-1", [dispatch(9)], now=NOW + 50)
        query = "select id, state, reason, ended_at from dispatches order by id"
        assert rows(ledger, query) == [
            (f"{1:026}", "sent", None, None),
            (f"{2:026}", "withdrawn", "replayed", NOW + 50),
            (f"{3:026}", "pending", None, None),
            (f"{9:026}", "pending", None, None),
        ]

    async def test_a_replay_of_one_route_is_not_held_against_what_another_did_before(self, ledger: Ledger) -> None:
        await accept(ledger, 1, event(), 2)
        await settle(ledger, Reject("no"))
        await settle(ledger, Sent())
        await ledger.write(replay, "delivery-1", [dispatch(9)], now=NOW + 50)
        await settle(ledger, Sent(), NOW + 60)
        await run(ledger, 9, DispatchState.SUCCEEDED, NOW + 70)
        assert (await only(ledger)).state == DispatchState.SUCCEEDED


async def test_an_existing_ledger_is_listed_by_its_migration_as_the_loops_would_have(
    postgres_url: str, tmp_path: Path
) -> None:
    for url in (postgres_url, f"sqlite:///{tmp_path}/old.db"):
        old = Ledger(url)
        upgrade(old, "0002")
        with old._database.writing() as connection:
            connection.exec_driver_sql("insert into lanes (name, next_at, pauses) values ('github', 0, 0)")
            told = ("id", "kind", "model", "version", "received_at")
            connection.execute(deliveries.insert(), [dict(zip(told, row, strict=True)) for row in DELIVERIES])
            sent = ("id", "delivery_id", "state", "created_at")
            same: dict[str, object] = {
                "lane": "github",
                "route": "r",
                "repository": "o/r",
                "event_type": "t",
                "payload": "{}",
            }
            same |= {"attempts": 0, "next_at": 0.0}
            connection.execute(dispatches.insert(), [dict(zip(sent, row, strict=True)) | same for row in DISPATCHES])
            connection.exec_driver_sql("insert into versions values ('iris', '1', 'uri', 'pushed', 7)")
        await old.start()
        found = (await old.read(queries.list_versions, Filter())).rows
        assert [(row.model, row.version, row.state, row.dispatch_id, row.latest_id, row.told_at) for row in found] == [
            ("ÉNERGIE", "3", "pending", "5", "6", 40.0),
            ("iris", "1", "failed", "3", "4", 20.0),
        ]
        assert [row.image_status for row in found] == [None, "pushed"]
        assert await names(old, Filter(search="énergie")) == ["ÉNERGIE 3"]
        await old.close()


DELIVERIES: list[tuple[object, ...]] = [
    ("a", "model_version.created", "iris", "1", 10.0),
    ("b", "model_version.created", "iris", "1", 20.0),
    ("c", "model_version.created", "ÉNERGIE", "3", 30.0),
]
DISPATCHES: list[tuple[object, ...]] = [
    ("1", "a", "pending", 10.0),
    ("3", "b", "failed", 20.0),
    ("4", "b", "succeeded", 20.0),
    ("2", "c", "rejected", 30.0),
    ("5", "c", "pending", 40.0),
    ("6", "c", "running", 40.0),
]


def upgrade(ledger: Ledger, revision: str) -> None:
    wanted = config()
    with ledger._database.writing() as connection:
        wanted.attributes["connection"] = connection
        command.upgrade(wanted, revision)
