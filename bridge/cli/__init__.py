"""The command line: `mlflow-bridge …`. Wires the parts, decides nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bridge import __version__
from bridge.cli.deliveries import deliveries
from bridge.cli.image import image
from bridge.cli.reconcile import reconcile
from bridge.cli.webhook import webhook
from bridge.cli.workflow import workflow

app = typer.Typer(
    name="mlflow-bridge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a model version in MLflow to its serving image in your registry.",
)
app.add_typer(image, name="image")
routes = typer.Typer(no_args_is_help=True, help="Look at the routes.")
app.add_typer(routes, name="routes")
app.add_typer(webhook, name="webhook")
app.add_typer(deliveries, name="deliveries")
app.add_typer(workflow, name="workflow")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before every command."""


@app.command(epilog="Example: mlflow-bridge serve --since 2026-01-31")
def serve(
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="At the very first start, take in the versions that MLflow has had since then (UTC), too.",
        ),
    ] = None,
) -> None:
    """Receive MLflow's webhooks and dispatch them to GitHub. Settings come from the environment and `.env`."""
    from bridge.server.process import serve as run

    run(since.replace(tzinfo=UTC).timestamp() if since else None)


@app.command(epilog="Example: mlflow-bridge doctor --url https://bridge.example.com/webhook")
def doctor(
    url: Annotated[
        str | None, typer.Option(help="The webhook's address, where MLflow has webhooks to other bridges, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Give the findings as JSON.")] = False,
) -> None:
    """Look at everything between MLflow and a run, and name what is wrong with its mend; nothing is changed.

    Run it with the bridge's own settings, best on its machine. Ends with status 1 where something fails.
    """
    from bridge.cli.doctor import run

    raise typer.Exit(run(url, as_json=as_json))


app.command(epilog="Example: mlflow-bridge reconcile --since 2026-01-31 --dry-run")(reconcile)


@routes.command(epilog="Example: mlflow-bridge routes check event.json --routes routes.toml")
def check(
    event: Annotated[
        typer.FileBinaryRead, typer.Argument(help="The body of a delivery, as MLflow sends it; - reads standard input.")
    ],
    file: Annotated[
        Path | None, typer.Option("--routes", help="Take the routes of this file, not of the settings.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Give the requests as JSON.")] = False,
) -> None:
    """Show what would go to GitHub for an event; nothing is sent. Ends with status 1 where nothing would go out."""
    from bridge.cli.routes import show

    raise typer.Exit(show(event.read(), file, as_json=as_json))
