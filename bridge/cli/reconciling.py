"""`mlflow-bridge reconcile`: one look through MLflow's registry for what no delivery told, as far back as is asked.

The running bridge's reconciler looks through the same registry by its own bookmarks. What both find has one delivery
id, made of what it says (`bridge.core.missed_events`), and so is one delivery.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge import clients
from bridge.cli import ledger_access
from bridge.core import missed_events, routing
from bridge.core.errors import BridgeError
from bridge.core.events import Event, EventKind, UnsupportedEvent
from bridge.core.missed_events import AliasChange, Aliases
from bridge.core.routing import Route
from bridge.ledger import Accepted, Ledger
from bridge.mlflow.client import MlflowApi, RecentVersion, RegisteredModel, Skipped
from bridge.mlflow.threads import run_in_daemon_thread
from bridge.settings import Settings
from bridge.workers import intake
from bridge.workers.reconciler import ALIASES, UNSENDABLE, fault, untold

Skip = Callable[[str, str], None]
"""Called with each entry of the registry that can't be dispatched, and the reason."""


class NoMlflow(BridgeError):
    """There is no MLflow to look through."""


@dataclass(frozen=True)
class Found:
    """An event that no delivery told of, with the id that its delivery has; `created` in Unix seconds, if known."""

    event: Event
    delivery_id: str
    routes: tuple[str, ...]
    created: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        event = self.event
        created = None if self.created is None else datetime.fromtimestamp(self.created, UTC).isoformat()
        return {
            "delivery_id": self.delivery_id,
            "event": event.kind.value,
            "model": event.model,
            "version": event.version,
            "alias": event.alias,
            "created_at": created,
            "routes": list(self.routes),
        }


async def reconcile(settings: Settings, since: float, *, dry_run: bool, skip: Skip) -> list[Found]:
    """Give what no delivery told of, oldest first, and take it in unless it is a `dry_run`.

    `since` is in Unix seconds by MLflow's clock. An entry that can't be dispatched doesn't stop the others. Raises
    `NoMlflow`, `MlflowError` and `LedgerUnavailable`.
    """
    mlflow = clients.mlflow(settings)
    if mlflow is None:
        raise NoMlflow("MLFLOW_TRACKING_URI is not set: set it to MLflow's address, such as https://mlflow.example.com")
    with mlflow:
        async with ledger_access.opened(settings.database_url) as ledger:
            found, covered = await _missing(ledger, mlflow, settings.routes, since, skip)
            if dry_run:
                return found
            taken = [each for each in found if await _take(ledger, each, settings.routes, skip)]
            await _note(ledger, covered)
            return taken


async def _missing(
    ledger: Ledger, mlflow: MlflowApi, routes: Sequence[Route], since: float, skip: Skip
) -> tuple[list[Found], list[AliasChange]]:
    """Give what no delivery told of, and the aliases that moved and are covered by it."""
    now = await _now(ledger)
    models = await run_in_daemon_thread(lambda: list(mlflow.registered_models()))
    listed = await run_in_daemon_thread(lambda: list(mlflow.recent_versions(int(since * 1000))))
    for entry in [*models, *listed]:
        if isinstance(entry, Skipped):
            skip(entry.entry, entry.fault)
    aliases = {model.name: model.aliases for model in models if isinstance(model, RegisteredModel)}
    known = [version for version in reversed(listed) if isinstance(version, RecentVersion)]
    ripe = [version for version in known if version.created / 1000 <= now - missed_events.GRACE]
    versions = [found for version in ripe if (found := await _version(ledger, version, routes, skip))]
    moved, covered = await _moved(ledger, aliases, versions, routes, skip)
    return versions + moved, covered


async def _now(ledger: Ledger) -> float:
    await ledger.paused()  # the common time is known once the database has been asked
    return ledger.time()


async def _version(ledger: Ledger, version: RecentVersion, routes: Sequence[Route], skip: Skip) -> Found | None:
    """Give the version's event; None if no route wants it, or a delivery has already reported this version."""
    try:
        event = missed_events.version_event(version.name, version.version, version.source, version.run_id)
    except UnsupportedEvent as error:
        skip(f"version {version.version!r} of model {version.name!r}", error.fault)
        return None
    wanting = _names(event, routes)
    if not wanting:
        return None
    told = await ledger.last_told(EventKind.VERSION_CREATED, version.name, version=version.version)
    if told is not None and told.received_at >= version.created / 1000 - missed_events.CLOCKS:
        return None
    delivery_id = missed_events.version_delivery_id(version.name, version.version, version.created)
    return Found(event, delivery_id, wanting, version.created / 1000)


async def _moved(
    ledger: Ledger, aliases: Aliases, versions: Iterable[Found], routes: Sequence[Route], skip: Skip
) -> tuple[list[Found], list[AliasChange]]:
    """Give the aliases that moved since the bridge's own last look, for MLflow doesn't say when one was set.

    Apart from them those of a version that was just found: its run sets all of them.
    """
    bookmark = await ledger.bookmark(ALIASES)
    last = missed_events.read_aliases(bookmark) if bookmark else {}
    covering = {(each.event.model, each.event.version): set(each.routes) for each in versions}
    found: list[Found] = []
    covered: list[AliasChange] = []
    for move in missed_events.changed_aliases(last, aliases) if bookmark else []:
        try:
            event = missed_events.alias_event(move)
        except UnsupportedEvent as error:
            skip(f"alias {move.alias!r} of model {move.model!r}", error.fault)
            continue
        wanting = _names(event, routes)
        if set(wanting) <= covering.get((move.model, move.version), set()):
            covered.append(move)
        elif wanting and (delivery_id := await untold(ledger, move, last)):
            found.append(Found(event, delivery_id, wanting))
    return found, [move for move in covered if (move.model, move.version) in covering]


async def _note(ledger: Ledger, covered: Sequence[AliasChange]) -> None:
    """Tell the bridge's reconciler which aliases need no event of their own; all else it finds in the ledger."""
    bookmark = await ledger.bookmark(ALIASES)
    if bookmark and covered:
        noted = missed_events.apply_changes(missed_events.read_aliases(bookmark), covered)
        await ledger.write_bookmark(ALIASES, missed_events.write_aliases(noted))


async def _take(ledger: Ledger, found: Found, routes: Sequence[Route], skip: Skip) -> bool:
    try:
        taken = await intake.take(ledger, found.event, found.delivery_id, routes, now=ledger.time())
    except UNSENDABLE as error:
        skip(f"version {found.event.version!r} of model {found.event.model!r}", fault(error))
        return False
    return isinstance(taken, Accepted)


def _names(event: Event, routes: Sequence[Route]) -> tuple[str, ...]:
    return tuple(route.name for route in routing.match(event, routes))
