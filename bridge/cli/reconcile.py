"""`mlflow-bridge reconcile`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from bridge.cli.output import print_json, report_errors


def reconcile(
    since: Annotated[
        datetime,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], metavar="DATE", help="Start of the period (UTC)."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the missed events without dispatching them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON output.")] = False,
) -> None:
    """Find and dispatch events that no webhook reported.

    The running bridge sends them. Versions are found since --since. Aliases are found that changed since the bridge's
    own last check, because MLflow does not record when an alias was set. Events of the last two minutes are left to
    MLflow's webhook.
    """
    import asyncio

    from bridge.cli import reconciling
    from bridge.cli.rendering import subject
    from bridge.settings import load

    with report_errors():
        began = since.replace(tzinfo=UTC).timestamp()
        found = asyncio.run(reconciling.reconcile(load(), began, dry_run=dry_run, skip=_skipped))
    if as_json:
        print_json({"dry_run": dry_run, "found": [each.as_dict() for each in found]})
        return
    for each in found:
        typer.echo(f"{each.event.kind.value}: {subject(each.event)} → {', '.join(each.routes)}")
    typer.echo(f"{len(found)} {'would be taken in' if dry_run else 'taken in'}")


def _skipped(entry: str, fault: str) -> None:
    typer.echo(f"{entry} can't be dispatched ({fault}): rename or delete it", err=True)
