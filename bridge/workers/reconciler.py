"""The loop that asks MLflow for versions and aliases that no delivery told us of."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final, TypeVar

import structlog

from bridge.core import missed_events, routing
from bridge.core.events import Event, EventKind, UnsupportedEvent
from bridge.core.missed_events import AliasChange, Aliases, BookmarkUnreadable, Watermark
from bridge.core.payload import PayloadTooLarge
from bridge.core.routing import Route
from bridge.core.text import clean
from bridge.ledger import RECONCILER, Accepted, Ledger
from bridge.mlflow.client import MlflowApi, MlflowError, RecentVersion, RegisteredModel, Skipped
from bridge.mlflow.threads import run_in_daemon_thread
from bridge.workers import intake
from bridge.workers.lease import Lease
from bridge.workers.loop import Loop

VERSIONS: Final = "reconciler.versions"
ALIASES: Final = "reconciler.aliases"
"""Names of the bookmarks."""

_HEARTBEAT: Final = 20.0
"""Seconds between two takings of the lease."""

_LEASE: Final = 60.0
"""Seconds after which another process may reconcile in place of one that is gone; two at once do no harm."""

_AFTER_MLFLOW: Final = 60.0
"""Seconds before MLflow is asked again that could not be."""

UNSENDABLE: Final = (UnsupportedEvent, PayloadTooLarge)
"""Errors that affect only one entry."""

_log = structlog.get_logger(__name__)

_Entry = TypeVar("_Entry", RecentVersion, RegisteredModel)

Found = Mapping[tuple[str, str], Event]
"""The events of versions that were just taken in, by model and version."""


def fault(error: UnsupportedEvent | PayloadTooLarge) -> str:
    """Say why an entry of the registry can't be dispatched."""
    return error.fault if isinstance(error, UnsupportedEvent) and error.fault else str(error)


async def untold(ledger: Ledger, move: AliasChange, last: Aliases) -> str | None:
    """Give the id of the delivery that the move is to have; None where a delivery told of it already.

    The alias's newest delivery may be of an earlier move to the same version: in between the alias pointed to a
    version whose own event covered it, and which was told of later.
    """
    told = await ledger.last_told(EventKind.ALIAS_CREATED, move.model, alias=move.alias)
    if told and told.version == move.version:
        between = last.get(move.model, {}).get(move.alias)
        is_number = between is not None and between.isascii() and between.isdigit()  # of no other there is a delivery
        covering = await ledger.last_told(EventKind.VERSION_CREATED, move.model, version=between) if is_number else None
        if covering is None or covering.received_at <= told.received_at:
            return None
    return missed_events.alias_delivery_id(move, told.id if told else None)


class Reconciler(Loop):
    """Looks through MLflow's registry every `interval` seconds, and takes in what no delivery told.

    The first look of all only notes what there is, and takes in the versions made after `since` (Unix seconds).
    `taken` is called where there is something to send. `problem` says why MLflow can't be asked just now,
    `skipped` which entries of its registry can't be dispatched.
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
        grace: float = missed_events.GRACE,
        taken: Callable[[], None] = lambda: None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self.problem: str | None = None
        self._ledger = ledger
        self._mlflow = mlflow
        self._routes = routes
        self._interval = interval
        self._since = since
        self._grace = grace
        self._taken = taken
        self._clock = clock or ledger.time
        self._lease = Lease(ledger, RECONCILER, seconds=_LEASE, clock=self._clock)
        self._suspects: dict[AliasChange, float] = {}
        self._skipped: dict[str, str] = {}
        self._skipped_before: dict[str, str] = {}
        self._due = 0.0

    async def step(self) -> float:
        """Look through the registry if it is time to, and if this process is the one that does."""
        now = self._clock()
        if await self._lease.take() is None:
            self.problem = None
            self._suspects.clear()
            self._skipped.clear()
        elif now >= self._due:
            async with self._lease.kept():  # a look through many models is long
                wait = await self._guarded_look(now)
            self._due = self._clock() + wait
        return max(min(self._due - self._clock(), _HEARTBEAT, self._interval), 0.0)

    async def end(self) -> None:
        """Let another process reconcile."""
        await self._lease.release()

    async def _guarded_look(self, now: float) -> float:
        """Look, and give the seconds until the next look."""
        try:
            wait = await self._look(now)
        except (MlflowError, BookmarkUnreadable) as error:
            if self.problem != str(error):
                _log.error("registry can't be looked through", reason=str(error))
            self.problem = str(error)
            return min(self._interval, _AFTER_MLFLOW)
        self.problem = None
        return wait

    async def _look(self, now: float) -> float:
        """The aliases are read before any version is taken in: its run, which comes later, sees them all."""
        self._skipped_before, self._skipped = self._skipped, {}
        models = await run_in_daemon_thread(lambda: list(self._mlflow.registered_models()))
        aliases = {model.name: model.aliases for model in self._readable(models, RegisteredModel)}
        watermark = await self._watermark(now)
        last = await self._last_aliases(aliases)
        found = await self._versions(watermark, now)
        await self._moves(last, aliases, found, now)
        ripe = [first + self._grace for first in self._suspects.values()]
        return min([self._interval, *(max(at - now, 1.0) for at in ripe)])

    def _readable(self, entries: Sequence[_Entry | Skipped], shape: type[_Entry]) -> list[_Entry]:
        for entry in entries:
            if isinstance(entry, Skipped):
                self._skip(entry.entry, entry.fault)
        return [entry for entry in entries if isinstance(entry, shape)]

    def _skip(self, entry: str, fault: str) -> None:
        """Skip an entry of the registry that can't be dispatched; it is logged once."""
        entry = clean(entry)
        self._skipped[entry] = fault
        if self._skipped_before.get(entry) != fault:
            _log.error("entry of the registry can't be dispatched", entry=entry, reason=fault)

    @property
    def skipped(self) -> str | None:
        """Say how many entries the last look skipped, and why the first one was; None if none was."""
        for entry, fault in self._skipped.items():
            return (
                f"{len(self._skipped)} of MLflow's versions and aliases can't be dispatched, starting with {entry} "
                f"({fault}): rename or delete it"
            )
        return None

    async def _watermark(self, now: float) -> Watermark:
        """Give how far the last look got; at the first of all, begin behind the newest version, or at `since`.

        A version dated in the future doesn't count as the newest: no later version would be newer.
        """
        if text := await self._ledger.bookmark(VERSIONS):
            return Watermark.read(text)

        def newest() -> float:
            for version in self._mlflow.recent_versions(0):
                if isinstance(version, RecentVersion) and version.created / 1000 <= now + missed_events.CLOCKS:
                    return (version.created + 1) / 1000
            return 0.0

        behind = await run_in_daemon_thread(newest)
        watermark = Watermark.baseline(behind if self._since is None else self._since)
        await self._ledger.write_bookmark(VERSIONS, watermark.write())
        _log.info("reconciler begins", versions_since=datetime.fromtimestamp(watermark.floor, UTC).isoformat())
        return watermark

    async def _last_aliases(self, aliases: Aliases) -> Aliases:
        """Give what the aliases were at the last look; at the first of all, they are as they should be."""
        if text := await self._ledger.bookmark(ALIASES):
            return missed_events.read_aliases(text)
        await self._ledger.write_bookmark(ALIASES, missed_events.write_aliases(aliases))
        return aliases

    async def _versions(self, watermark: Watermark, now: float) -> Found:
        """Take in the versions that no delivery told of, oldest first, and give their events."""
        listed = await run_in_daemon_thread(lambda: list(self._mlflow.recent_versions(int(watermark.begin * 1000))))
        known = self._readable(listed, RecentVersion)
        ripe = [version for version in reversed(known) if version.created / 1000 <= now - self._grace]
        found: dict[tuple[str, str], Event] = {}
        for version in ripe:
            try:
                event = missed_events.version_event(version.name, version.version, version.source, version.run_id)
                if self._is_wanted(event) and not await self._is_told(version):
                    delivery_id = missed_events.version_delivery_id(version.name, version.version, version.created)
                    if await self._take(event, delivery_id):
                        found[version.name, version.version] = event
            except UNSENDABLE as error:
                self._skip(f"version {version.version!r} of model {version.name!r}", fault(error))
        if ripe:
            await self._ledger.write_bookmark(VERSIONS, watermark.after(ripe[-1].created / 1000).write())
        return found

    async def _is_told(self, version: RecentVersion) -> bool:
        """Tell whether a delivery told of this very version, not of one of its name that was deleted before it."""
        told = await self._ledger.last_told(EventKind.VERSION_CREATED, version.name, version=version.version)
        return told is not None and told.received_at >= version.created / 1000 - missed_events.CLOCKS

    async def _moves(self, last: Aliases, aliases: Aliases, found: Found, now: float) -> None:
        """Take in the aliases that were moved and that no delivery told of, once they have pointed there for a while.

        MLflow doesn't say when an alias was set: it is as old as our knowing of it.
        """
        moves = missed_events.changed_aliases(last, aliases)
        self._suspects = {move: self._suspects.get(move, now) for move in moves}
        done: list[AliasChange] = []
        for move in moves:
            try:
                if await self._is_done(move, last, found, now):
                    done.append(move)
            except UNSENDABLE as error:
                del self._suspects[move]
                self._skip(f"alias {move.alias!r} of model {move.model!r}", fault(error))
        if done:
            await self._ledger.write_bookmark(
                ALIASES, missed_events.write_aliases(missed_events.apply_changes(last, done))
            )
        for move in done:
            del self._suspects[move]

    async def _is_done(self, move: AliasChange, last: Aliases, found: Found, now: float) -> bool:
        event = missed_events.alias_event(move)
        if not self._is_wanted(event):
            return True
        delivery_id = await untold(self._ledger, move, last)
        if delivery_id is None or self._is_covered(event, found):
            return True
        if now < self._suspects[move] + self._grace:
            return False
        await self._take(event, delivery_id)
        return True

    def _is_covered(self, event: Event, found: Found) -> bool:
        """Tell whether the alias's version has just been taken in, for every route that the alias has."""
        version = found.get((event.model, event.version))
        return version is not None and set(self._names(event)) <= set(self._names(version))

    def _is_wanted(self, event: Event) -> bool:
        return bool(self._names(event))

    def _names(self, event: Event) -> list[str]:
        return [route.name for route in routing.match(event, self._routes)]

    async def _take(self, event: Event, delivery_id: str) -> bool:
        about = {"kind": event.kind, "model": event.model, "version": event.version, "alias": event.alias}
        taken = await intake.take(self._ledger, event, delivery_id, self._routes, now=self._clock())
        if not isinstance(taken, Accepted):
            return False
        _log.info("found in the registry", delivery_id=delivery_id, **about)
        self._taken()
        return True
