"""The loop that finds versions and aliases in MLflow that no delivery reported, and dispatches them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final, TypeVar

import structlog

from bridge.core import missed_events, routing
from bridge.core.events import Event, EventKind, UnsupportedEvent
from bridge.core.missed_events import AliasChange, Aliases, BookmarkUnreadable, Watermark
from bridge.core.payload import PayloadTooLarge
from bridge.core.routing import Route
from bridge.core.text import clean
from bridge.ledger import RECONCILER, Accepted, Ledger, bookmarks, queries
from bridge.mlflow.client import MlflowApi, MlflowError, RecentVersion, RegisteredModel, Skipped
from bridge.mlflow.threads import run_in_daemon_thread
from bridge.workers import intake
from bridge.workers.lease import Lease
from bridge.workers.loop import Loop
from bridge.workers.waits import WAITS, Waits

VERSIONS: Final = "reconciler.versions"
ALIASES: Final = "reconciler.aliases"
"""Names of the bookmarks."""

_log = structlog.get_logger(__name__)

_Entry = TypeVar("_Entry", RecentVersion, RegisteredModel)


@dataclass(frozen=True)
class MissedEvent:
    """An event that no delivery reported, with the id that its delivery gets; `created` in Unix seconds, if known."""

    event: Event
    delivery_id: str
    routes: tuple[str, ...]
    created: float | None = None


class Reconciler(Loop):
    """Compares MLflow's registry with the ledger every `interval` seconds, and stores the events that are missing.

    The first comparison of all only notes what exists, and imports the versions created after `since` (Unix seconds).
    `imported` is called for each event that was stored. `problem` is the reason why MLflow can't be asked just now,
    `skipped_entries` has the entries of its registry that can't be dispatched, each with the reason.
    """

    name: ClassVar[str] = RECONCILER

    def __init__(
        self,
        ledger: Ledger,
        mlflow: MlflowApi,
        routes: Sequence[Route],
        *,
        interval: float,
        since: float | None = None,
        imported: Callable[[], None] = lambda: None,
        clock: Callable[[], float] | None = None,
        waits: Waits = WAITS,
    ) -> None:
        super().__init__()
        self.problem: str | None = None
        self.skipped_entries: dict[str, str] = {}
        self._ledger = ledger
        self._mlflow = mlflow
        self._routes = routes
        self._interval = interval
        self._since = since
        self._imported = imported
        self._clock = clock or ledger.time
        self._waits = waits
        # Two processes that reconcile at once do no harm: what both find has one delivery id.
        self._lease = Lease(ledger, RECONCILER, seconds=waits.lease, clock=self._clock)
        self._first_seen: dict[AliasChange, float] = {}
        self._skipped_before: Mapping[str, str] = {}
        self._due = 0.0

    async def step(self) -> float:
        """Compare, if it is time to and this process is the one that reconciles."""
        now = self._clock()
        if await self._lease.acquire() is None:
            self.problem = None
            self._first_seen.clear()
            self.skipped_entries.clear()
        elif now >= self._due:
            async with self._lease.renewing():  # with many models it takes long
                wait = await self._guarded_comparison(now)
            self._due = self._clock() + wait
        return max(min(self._due - self._clock(), self._waits.heartbeat, self._interval), 0.0)

    async def end(self) -> None:
        """Let another process reconcile."""
        await self._lease.release()

    @property
    def skipped(self) -> str | None:
        """How many entries the last comparison skipped, and why the first one; None if none."""
        for entry, fault in self.skipped_entries.items():
            return (
                f"{len(self.skipped_entries)} of MLflow's versions and aliases can't be dispatched, starting with "
                f"{entry} ({fault}): rename or delete it in MLflow"
            )
        return None

    async def import_since(self, since: float, *, dry_run: bool) -> list[MissedEvent]:
        """Compare once, beside the loop of a running bridge: the versions created from `since` on, by MLflow's clock.

        Returns what was stored, or with `dry_run` what would be, oldest first. Of aliases these are the changes since
        the running bridge's last comparison, because MLflow doesn't record when an alias was set. Raises `MlflowError`,
        `BookmarkUnreadable` and `LedgerUnavailable`.
        """
        # Fails before anything is stored if it can't be read. Also, only now is the common time known.
        await self._recorded_aliases()
        aliases = await self._read_aliases()
        versions, _ = await self._import_versions(since, self._clock(), dry_run=dry_run)
        last = await self._recorded_aliases()
        if last is None:
            return versions
        changes = missed_events.changed_aliases(last, aliases)
        alias_events, settled = await self._import_aliases(changes, last, versions, dry_run=dry_run)
        if not dry_run:
            await self._save_aliases(settled)
        return versions + alias_events

    async def _guarded_comparison(self, now: float) -> float:
        """Compare, and return the seconds until the next time."""
        try:
            wait = await self._compare(now)
        except (MlflowError, BookmarkUnreadable) as error:
            if self.problem != str(error):
                _log.error("can't list MLflow's model registry", reason=str(error))
            self.problem = str(error)
            return min(self._interval, self._waits.mlflow_retry)
        self.problem = None
        return wait

    async def _compare(self, now: float) -> float:
        self._skipped_before, self.skipped_entries = self.skipped_entries, {}
        # 1. Read the aliases before any version is stored: that version's run comes later, and so sees all of them.
        aliases = await self._read_aliases()
        watermark = await self._watermark(now)
        last = await self._recorded_aliases()
        if last is None:  # the first comparison of all only records the aliases
            last = aliases
            await self._ledger.write(bookmarks.write_bookmark, ALIASES, missed_events.write_aliases(aliases))
        # 2. Store the versions that no delivery reported.
        versions, newest = await self._import_versions(watermark.begin, now)
        if newest is not None:
            await self._ledger.write(bookmarks.write_bookmark, VERSIONS, watermark.after(newest).write())
        # 3. Store the aliases that moved. MLflow doesn't record when, so an alias is as old as our knowledge of it; one
        #    that is younger than the grace period is left to its own delivery.
        changes = missed_events.changed_aliases(last, aliases)
        self._first_seen = {change: self._first_seen.get(change, now) for change in changes}
        too_new = {change for change, first in self._first_seen.items() if now < first + self._waits.grace}
        _, settled = await self._import_aliases(changes, last, versions, too_new=too_new)
        await self._save_aliases(settled)
        # 4. Come back when the first of the others is old enough.
        for change in settled:
            del self._first_seen[change]
        due_times = [first + self._waits.grace for first in self._first_seen.values()]
        return min([self._interval, *(max(at - now, 1.0) for at in due_times)])

    async def _read_aliases(self) -> Aliases:
        models = await run_in_daemon_thread(lambda: list(self._mlflow.registered_models()))
        return {model.name: model.aliases for model in self._readable(models, RegisteredModel)}

    def _readable(self, entries: Sequence[_Entry | Skipped], entry_type: type[_Entry]) -> list[_Entry]:
        for entry in entries:
            if isinstance(entry, Skipped):
                self._skip(entry.entry, entry.fault)
        return [entry for entry in entries if isinstance(entry, entry_type)]

    def _skip(self, entry: str, fault: str) -> None:
        entry = clean(entry)
        self.skipped_entries[entry] = fault
        if self._skipped_before.get(entry) != fault:  # logged once, not at every comparison
            _log.error("missed event can't be dispatched", entry=entry, reason=fault)

    async def _watermark(self, now: float) -> Watermark:
        """Return how far the last comparison got; at the first of all, begin after the newest version, or at `since`.

        A version dated in the future doesn't count as the newest: no later version would be newer.
        """
        if text := await self._ledger.read(bookmarks.read_bookmark, VERSIONS):
            return Watermark.read(text)

        def newest() -> float:
            for version in self._mlflow.recent_versions(0):
                if isinstance(version, RecentVersion) and version.created / 1000 <= now + missed_events.CLOCKS:
                    return (version.created + 1) / 1000
            return 0.0

        after_newest = await run_in_daemon_thread(newest)
        watermark = Watermark.baseline(after_newest if self._since is None else self._since)
        await self._ledger.write(bookmarks.write_bookmark, VERSIONS, watermark.write())
        _log.info("reconciler started", versions_since=datetime.fromtimestamp(watermark.floor, UTC).isoformat())
        return watermark

    async def _recorded_aliases(self) -> Aliases | None:
        text = await self._ledger.read(bookmarks.read_bookmark, ALIASES)
        return missed_events.read_aliases(text) if text else None

    async def _save_aliases(self, settled: Sequence[AliasChange]) -> None:
        if settled:  # read again, because a command may have written beside the loop
            last = await self._recorded_aliases() or {}
            text = missed_events.write_aliases(missed_events.apply_changes(last, settled))
            await self._ledger.write(bookmarks.write_bookmark, ALIASES, text)

    async def _import_versions(
        self, begin: float, now: float, *, dry_run: bool = False
    ) -> tuple[list[MissedEvent], float | None]:
        """Store the versions that no delivery reported, oldest first; also return when the newest one was created.

        Versions younger than the grace period are left to their own deliveries.
        """
        entries = await run_in_daemon_thread(lambda: list(self._mlflow.recent_versions(int(begin * 1000))))
        readable = self._readable(entries, RecentVersion)
        old_enough = [version for version in reversed(readable) if version.created / 1000 <= now - self._waits.grace]
        imported = []
        for version in old_enough:
            try:
                missed = await self._missed_version(version)
                if missed and (dry_run or await self._import(missed)):
                    imported.append(missed)
            except (UnsupportedEvent, PayloadTooLarge) as error:  # affects only this version
                self._skip(f"version {version.version!r} of model {version.name!r}", _fault(error))
        return imported, old_enough[-1].created / 1000 if old_enough else None

    async def _missed_version(self, version: RecentVersion) -> MissedEvent | None:
        event = missed_events.version_event(version.name, version.version, version.source, version.run_id)
        routes = self._matching_routes(event)
        if not routes:
            return None
        last = await self._ledger.read(
            queries.last_delivery, EventKind.VERSION_CREATED, version.name, version=version.version
        )
        # An older delivery was of a version with the same number that has been deleted since.
        if last and last.received_at >= version.created / 1000 - missed_events.CLOCKS:
            return None
        delivery_id = missed_events.version_delivery_id(version.name, version.version, version.created)
        return MissedEvent(event, delivery_id, routes, version.created / 1000)

    async def _import_aliases(
        self,
        changes: Sequence[AliasChange],
        last: Aliases,
        versions: Sequence[MissedEvent],
        *,
        too_new: Collection[AliasChange] = (),
        dry_run: bool = False,
    ) -> tuple[list[MissedEvent], list[AliasChange]]:
        """Store the alias changes that no delivery reported; also return the changes that need nothing more.

        A version in `versions` covers its aliases, because its run sets all of them, if it goes to every route that the
        alias has.
        """
        covered = {(version.event.model, version.event.version): set(version.routes) for version in versions}
        imported: list[MissedEvent] = []
        settled: list[AliasChange] = []
        for change in changes:
            try:
                event = missed_events.alias_event(change)
                routes = self._matching_routes(event)
                if set(routes) <= covered.get((change.model, change.version), set()):
                    settled.append(change)
                    continue
                delivery_id = await self._missed_alias_delivery_id(change, last)
                if delivery_id is None:
                    settled.append(change)
                elif change not in too_new:
                    missed = MissedEvent(event, delivery_id, routes)
                    if dry_run or await self._import(missed):
                        imported.append(missed)
                    settled.append(change)
            except (UnsupportedEvent, PayloadTooLarge) as error:  # affects only this alias
                self._first_seen.pop(change, None)
                self._skip(f"alias {change.alias!r} of model {change.model!r}", _fault(error))
        return imported, settled

    async def _missed_alias_delivery_id(self, change: AliasChange, last: Aliases) -> str | None:
        """Return the id that the change's delivery gets; None if a delivery has already reported the change.

        The alias's newest delivery may be of an earlier change to the same version: in between the alias pointed to a
        version whose own event covered it, and which was reported later.
        """
        reported = await self._ledger.read(
            queries.last_delivery, EventKind.ALIAS_CREATED, change.model, alias=change.alias
        )
        if reported and reported.version == change.version:
            version_between = last.get(change.model, {}).get(change.alias)
            if version_between is None or not (
                version_between.isascii() and version_between.isdigit()
            ):  # no delivery can be of such a version
                return None
            covering = await self._ledger.read(
                queries.last_delivery, EventKind.VERSION_CREATED, change.model, version=version_between
            )
            if covering is None or covering.received_at <= reported.received_at:
                return None
        return missed_events.alias_delivery_id(change, reported.id if reported else None)

    def _matching_routes(self, event: Event) -> tuple[str, ...]:
        return tuple(route.name for route in routing.match(event, self._routes))

    async def _import(self, missed: MissedEvent) -> bool:
        """Store the event; False if a delivery of it has arrived meanwhile."""
        event = missed.event
        outcome = await intake.accept(self._ledger, event, missed.delivery_id, self._routes, now=self._clock())
        if not isinstance(outcome, Accepted):
            return False
        about = {"kind": event.kind, "model": event.model, "version": event.version, "alias": event.alias}
        _log.info("missed event imported from MLflow", delivery_id=missed.delivery_id, **about)
        self._imported()
        return True


def _fault(error: UnsupportedEvent | PayloadTooLarge) -> str:
    return error.fault if isinstance(error, UnsupportedEvent) and error.fault else error.message
