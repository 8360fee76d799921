"""`mlflow-bridge reconcile`: the reconciler's comparison once, as far back as asked, beside a running bridge."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.output import print_json, report_errors
from bridge.core.errors import BridgeError

if TYPE_CHECKING:
    from bridge.settings import Settings
    from bridge.workers.reconciler import MissedEvent
    from bridge.workers.waits import Waits


class NoMlflow(BridgeError):
    """There is no MLflow to compare with."""


def reconcile(
    since: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            metavar="DATE",
            help="Find versions created since this date (UTC).",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the missed events without dispatching them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find and dispatch events whose webhook never arrived.

    Imports the versions created since the date in --since. MLflow does not record when an alias was set, so only the
    aliases changed since the bridge last asked MLflow are imported. The running bridge then dispatches these events.
    Events from the last two minutes are skipped, because their webhook may still arrive.
    """
    from bridge.settings import load
    from bridge.workers.waits import WAITS

    with report_errors():
        settings = load()
        run(settings, since, WAITS, dry_run=dry_run, as_json=as_json)


def run(settings: "Settings", since: datetime, waits: "Waits", *, dry_run: bool, as_json: bool) -> None:
    """Import what is missing, and print it."""
    from bridge.cli.rendering import subject

    begin = since.replace(tzinfo=UTC).timestamp()
    missed, skipped = asyncio.run(import_missed(settings, begin, waits, dry_run=dry_run))
    for entry, fault in skipped.items():
        typer.echo(f"{entry} can't be dispatched ({fault}): rename or delete it in MLflow", err=True)
    if as_json:
        print_json({"dry_run": dry_run, "found": [_as_dict(event) for event in missed]})
        return
    for event in missed:
        typer.echo(f"{event.event.kind.value}: {subject(event.event)} → {', '.join(event.routes)}")
    typer.echo(f"missed events: {len(missed)} {'would be imported' if dry_run else 'imported'}")


async def import_missed(
    settings: "Settings", since: float, waits: "Waits", *, dry_run: bool
) -> tuple[list["MissedEvent"], Mapping[str, str]]:
    """Return what was imported, or with `dry_run` would be, and the reason for each entry that can't be dispatched.

    `since` is in Unix seconds by MLflow's clock. Raises `NoMlflow`, `MlflowError` and `LedgerUnavailable`.
    """
    from bridge import clients
    from bridge.ledger import inspection
    from bridge.workers.reconciler import Reconciler

    mlflow = clients.mlflow(settings)
    if mlflow is None:
        raise NoMlflow(
            "MLFLOW_TRACKING_URI is not set", "set it to MLflow's address, such as https://mlflow.example.com"
        )
    with mlflow:
        async with inspection.opened(settings.database_url) as ledger:
            reconciler = Reconciler(ledger, mlflow, settings.routes, interval=settings.reconcile_interval, waits=waits)
            return await reconciler.import_since(since, dry_run=dry_run), reconciler.skipped_entries


def _as_dict(missed: "MissedEvent") -> dict[str, Any]:
    event = missed.event
    created = None if missed.created is None else datetime.fromtimestamp(missed.created, UTC).isoformat()
    return {
        "delivery_id": missed.delivery_id,
        "event": event.kind.value,
        "model": event.model,
        "version": event.version,
        "alias": event.alias,
        "created_at": created,
        "routes": list(missed.routes),
    }
