"""The command line `mlflow-bridge`: registers the commands, which import what they need when they run."""

from pathlib import Path
from typing import Annotated

import typer

from bridge import __version__
from bridge.cli.deliveries import deliveries
from bridge.cli.doctor import doctor
from bridge.cli.image import image
from bridge.cli.reconcile import reconcile
from bridge.cli.serve import serve
from bridge.cli.webhook import webhook
from bridge.cli.workflow import workflow

app = typer.Typer(
    name="mlflow-bridge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, which also starts twice as fast
    context_settings={"max_content_width": 100},
    help="Build serving images for MLflow model versions with GitHub Actions.",
)
app.command(epilog="Example: mlflow-bridge serve --since 2026-01-31")(serve)
app.command(epilog="Example: mlflow-bridge doctor --url https://bridge.example.com/webhook")(doctor)
app.command(epilog="Example: mlflow-bridge reconcile --since 2026-01-31 --dry-run")(reconcile)
app.add_typer(webhook, name="webhook")
app.add_typer(deliveries, name="deliveries")
routes = typer.Typer(no_args_is_help=True, help="Check which routes match an event.")
app.add_typer(routes, name="routes")
app.add_typer(workflow, name="workflow")
app.add_typer(image, name="image")


def _show_version(is_given: bool) -> None:
    if is_given:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Parse the options that come before a command."""


@routes.command(epilog="Example: mlflow-bridge routes check event.json --routes routes.toml")
def check(
    event: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="FILE", help="Body of a delivery, as MLflow sends it, or - for standard input."),
    ],
    file: Annotated[
        Path | None, typer.Option("--routes", help="File with the routes to use instead of those in the settings.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which requests an event would send to GitHub, without sending them.

    Exits with status 1 if no request would be sent, 2 if the event or the routes are invalid.
    """
    from bridge.cli.routes import show

    raise typer.Exit(show(event.read(), file, as_json=as_json))
