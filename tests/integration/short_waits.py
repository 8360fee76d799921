"""The bridge with short waits: `python -m tests.integration.short_waits serve`, or `reconcile`.

QUICK_GRACE: the seconds for MLflow's own delivery, before the reconciler looks for the event.
"""

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from bridge.cli.output import report_errors
from bridge.cli.reconcile import run
from bridge.server import process
from bridge.settings import load
from bridge.workers.waits import Waits

WAITS = Waits(
    grace=float(os.environ.get("QUICK_GRACE", "1")),
    unseen_after=4.0,
    rerun_check=0.5,
    lease=2.0,
    heartbeat=0.2,
    mlflow_retry=0.5,
)

app = typer.Typer()


@app.command()
def serve(since: Annotated[datetime | None, typer.Option()] = None) -> None:
    process.serve(since.replace(tzinfo=UTC).timestamp() if since else None, WAITS)


@app.command()
def reconcile(
    since: Annotated[datetime, typer.Option()],
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    with report_errors():
        run(load(), since, WAITS, dry_run=dry_run, as_json=as_json)


if __name__ == "__main__":
    app()
