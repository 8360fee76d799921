"""What `reconcile` finds, with an MLflow that is played and a real ledger."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from bridge import clients
from bridge.cli.reconcile import NoMlflow, import_missed
from bridge.core import missed_events
from bridge.core.events import Event, EventKind
from bridge.core.missed_events import BookmarkUnreadable
from bridge.core.routing import Route
from bridge.ledger import Filter, Ledger, bookmarks, queries
from bridge.ledger.inspection import opened
from bridge.mlflow.client import MlflowApi, RecentVersion, RegisteredModel
from bridge.settings import Settings
from bridge.workers import intake
from bridge.workers.reconciler import ALIASES, MissedEvent
from bridge.workers.waits import WAITS

DAY = 24 * 3600.0


class Played(MlflowApi):
    """A registry in memory; versions are given by name, number and age in seconds."""

    def __init__(self, now: float, versions: list[tuple[str, str, float]], aliases: dict[str, dict[str, str]]) -> None:
        self._versions = [
            RecentVersion.model_validate(
                {"name": name, "version": version, "creation_timestamp": (now - age) * 1000 // 1}
            )
            for name, version, age in sorted(versions, key=lambda each: each[2])
        ]
        self._aliases = aliases

    def recent_versions(self, since: int) -> Iterator[RecentVersion]:
        yield from [version for version in self._versions if version.created >= since]

    def registered_models(self) -> Iterator[RegisteredModel]:
        for name, aliases in self._aliases.items():
            pairs = [{"alias": alias, "version": version} for alias, version in aliases.items()]
            yield RegisteredModel.model_validate({"name": name, "aliases": pairs})

    def close(self) -> None:
        pass


class Scene:
    """A ledger, an MLflow, and the command's inner part on both."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = Settings(
            database_url=url,
            github_repository="o/n",
            github_token=SecretStr("t"),
            mlflow_tracking_uri="https://mlflow.example.com",
        )
        self._patch = monkeypatch
        self.skipped: Mapping[str, str] = {}
        self.now = asyncio.run(self._start())

    async def _start(self) -> float:
        ledger = Ledger(self.settings.database_url)
        await ledger.start()
        now = ledger.time()
        await ledger.close()
        return now

    def hold(self, versions: list[tuple[str, str, float]], **aliases: dict[str, str]) -> None:
        played = Played(self.now, versions, aliases)
        self._patch.setattr(clients, "mlflow", lambda _: played)

    def run(self, *, dry_run: bool = False, age: float = DAY) -> list[MissedEvent]:
        missed, self.skipped = asyncio.run(import_missed(self.settings, self.now - age, WAITS, dry_run=dry_run))
        return missed

    def deliver(self, event: Event, age: float = 0.0) -> None:
        async def accept() -> None:
            async with opened(self.settings.database_url) as ledger:
                await intake.accept(ledger, event, f"told-{event.alias}", self.settings.routes, now=self.now - age)

        asyncio.run(accept())

    def last_compared(self, **aliases: dict[str, str]) -> None:
        """Write the aliases as the bridge's own last comparison saw them."""

        async def write() -> None:
            async with opened(self.settings.database_url) as ledger:
                await ledger.write(bookmarks.write_bookmark, ALIASES, json.dumps(aliases))

        asyncio.run(write())

    def ledger(self) -> list[str]:
        async def read() -> list[str]:
            async with opened(self.settings.database_url) as ledger:
                return [story.delivery.id for story in (await ledger.read(queries.list_deliveries, Filter())).rows]

        return asyncio.run(read())


@pytest.fixture
def scene(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(database_url, monkeypatch)


def about(found: list[MissedEvent]) -> list[tuple[Any, ...]]:
    return [(each.event.kind, each.event.model, each.event.version, each.event.alias) for each in found]


def version(name: str, number: str) -> tuple[Any, ...]:
    return (EventKind.VERSION_CREATED, name, number, None)


def test_versions_of_that_time_that_no_delivery_reported_are_found_oldest_first(scene: Scene) -> None:
    scene.hold([("iris", "1", 2 * DAY), ("iris", "2", 300), ("iris", "3", 200), ("iris", "4", 10), ("wine", "1", 250)])
    scene.deliver(Event(EventKind.VERSION_CREATED, "wine", "1"))
    assert about(scene.run(dry_run=True)) == [version("iris", "2"), version("iris", "3")]
    assert len(scene.ledger()) == 1
    taken = scene.run()
    assert {each.delivery_id for each in taken} < set(scene.ledger())
    assert scene.run() == []


def test_nothing_is_imported_if_the_bookmark_cannot_be_read(scene: Scene) -> None:
    scene.hold([("iris", "1", 300)])
    scene.last_compared(iris={"champion": 1})  # type: ignore[dict-item]  # not a text
    with pytest.raises(BookmarkUnreadable):
        scene.run()
    assert scene.ledger() == []


def test_a_version_that_was_made_again_is_another(scene: Scene) -> None:
    scene.hold([("iris", "1", 300)])
    scene.deliver(Event(EventKind.VERSION_CREATED, "iris", "1"), age=300 + missed_events.CLOCKS + 60)
    assert about(scene.run()) == [version("iris", "1")]


def test_what_the_reconciler_itself_finds_has_the_same_id(scene: Scene) -> None:
    scene.hold([("iris", "1", 300)])
    (found,) = scene.run(dry_run=True)
    created = int((scene.now - 300) * 1000 // 1)
    assert found.delivery_id == missed_events.version_delivery_id("iris", "1", created)
    assert found.routes == ("environment",)


def test_aliases_that_moved_since_the_last_check_are_found_unless_reported_or_covered(scene: Scene) -> None:
    scene.last_compared(iris={"same": "1"})
    scene.hold([("iris", "2", 300)], iris={"same": "1", "moved": "1", "told": "1", "covered": "2"})
    scene.deliver(Event(EventKind.ALIAS_CREATED, "iris", "1", alias="told"))
    assert about(scene.run()) == [version("iris", "2"), (EventKind.ALIAS_CREATED, "iris", "1", "moved")]
    assert scene.run() == []


def test_an_alias_that_is_taken_back_from_a_version_that_covered_it_is_found(scene: Scene) -> None:
    scene.deliver(Event(EventKind.ALIAS_CREATED, "iris", "1", alias="champion"), age=900)
    scene.deliver(Event(EventKind.VERSION_CREATED, "iris", "2"), age=600)
    scene.last_compared(iris={"champion": "2"})
    scene.hold([("iris", "2", 700)], iris={"champion": "1"})
    assert about(scene.run()) == [(EventKind.ALIAS_CREATED, "iris", "1", "champion")]
    assert scene.run() == []


def test_without_a_last_check_no_alias_is_known_to_have_moved(scene: Scene) -> None:
    scene.hold([], iris={"champion": "1"})
    assert scene.run() == []


def test_without_an_mlflow_there_is_nothing_to_compare(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "mlflow", lambda _: None)
    with pytest.raises(NoMlflow):
        scene.run()


def test_what_cannot_be_dispatched_is_reported_and_stops_no_other(scene: Scene) -> None:
    scene.last_compared(iris={"a": "1"})
    scene.hold([("a\0b", "1", 300), ("iris", "2", 300)], iris={"a": "1", "\0": "1"})
    assert about(scene.run()) == [version("iris", "2")]
    assert len(scene.skipped) == 2


def test_a_payload_that_github_would_not_take_is_reported_and_stops_no_other(scene: Scene) -> None:
    large = Route("large", "o/n", "type", model="long", inputs={"x": "x" * 70_000})
    routes = (Route("environment", "o/n", "type", model="iris"), large)
    scene.settings = scene.settings.model_copy(update={"routes_file": routes})
    scene.hold([("long", "1", 300), ("iris", "1", 200)])
    assert about(scene.run()) == [version("iris", "1")]
    assert len(scene.skipped) == 1
