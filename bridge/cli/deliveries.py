"""`mlflow-bridge deliveries …`: the ledger, looked at and sent from again; the bridge may run or not."""

import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from bridge.cli.output import print_json, report_errors
from bridge.core.dispatches import DispatchState

if TYPE_CHECKING:
    from rich.console import Console

deliveries = typer.Typer(no_args_is_help=True, help="List, show, replay and follow MLflow's deliveries.")

AsJson = Annotated[bool, typer.Option("--json", help="JSON output.")]
DeliveryId = Annotated[str, typer.Argument(metavar="ID", help="Id of the delivery, from `list` or the bridge's log.")]
Model = Annotated[str | None, typer.Option(help="Full name of the registered model.")]
Version = Annotated[str | None, typer.Option(help="Version of the model.")]


@deliveries.command("list", epilog="Example: mlflow-bridge deliveries list --state failed --model iris")
def list_(
    state: Annotated[DispatchState | None, typer.Option(help="State of the last dispatch.")] = None,
    model: Model = None,
    version: Version = None,
    search: Annotated[str, typer.Option(help="Part of the model's name.")] = "",
    before: Annotated[str | None, typer.Option(help="Start of the next page, as the previous page shows it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of deliveries.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List deliveries, the most recently received or replayed first."""
    import asyncio

    from bridge.cli import ledger_access, rendering
    from bridge.ledger import DeliveryDetails, Filter, ResultPage
    from bridge.settings import load

    wanted = Filter(state, search, model, version, before, limit)

    async def look() -> ResultPage[DeliveryDetails]:
        async with ledger_access.opened(load().database_url) as ledger:
            return await ledger.told(wanted)

    with report_errors():
        part = asyncio.run(look())
    if as_json:
        print_json({"deliveries": [rendering.as_dict(story) for story in part.rows], "next": part.next})
        return
    console = _console()
    console.print(rendering.table(part.rows) if part.rows else "no deliveries")
    if part.next:
        console.print(f"there are more: --before {part.next}")


@deliveries.command(epilog="Example: mlflow-bridge deliveries show 8f0847cb-24b7-4d3a-a5d7-d1b1ce0c22a9")
def show(delivery_id: DeliveryId, as_json: AsJson = False) -> None:
    """Show a delivery with its dispatches and GitHub's answers.

    Exits with status 1 if there is no such delivery.
    """
    import asyncio

    from bridge.cli import ledger_access, rendering
    from bridge.ledger import DeliveryDetails
    from bridge.settings import load

    async def look() -> DeliveryDetails | None:
        async with ledger_access.opened(load().database_url) as ledger:
            return await ledger.story(delivery_id)

    with report_errors():
        story = asyncio.run(look())
    if story is None:
        _not_there()
    if as_json:
        print_json(rendering.as_dict(story))
    else:
        rendering.show(_console(), story)


@deliveries.command(epilog="Example: mlflow-bridge deliveries replay 8f0847cb-24b7-4d3a-a5d7-d1b1ce0c22a9")
def replay(delivery_id: DeliveryId, as_json: AsJson = False) -> None:
    """Dispatch a delivery again, by the current routes.

    The running bridge sends the new dispatches within 5 seconds. Pending dispatches of the delivery are withdrawn.

    Exits with status 1 if there is no such delivery, or if no route matches it any more.
    """
    import asyncio
    from collections.abc import Sequence

    from bridge.cli import ledger_access
    from bridge.ledger import Dispatch
    from bridge.settings import load
    from bridge.workers import intake

    async def send() -> Sequence[Dispatch] | None:
        settings = load()
        async with ledger_access.opened(settings.database_url) as ledger:
            story = await ledger.story(delivery_id)
            if story is None:
                return None
            return await intake.replay(ledger, story.delivery, settings.routes, now=ledger.time())

    with report_errors():
        sent = asyncio.run(send())
    if sent is None:
        _not_there()
    if not sent:
        print("no route wants this delivery any more: check GITHUB_REPOSITORY or ROUTES_FILE", file=sys.stderr)
        raise typer.Exit(1)
    if as_json:
        print_json({"status": "submitted", "delivery_id": delivery_id, "dispatch_ids": [one.id for one in sent]})
        return
    for one in sent:
        typer.echo(f"dispatch {one.id} goes to {one.repository} by route {one.route}")


@deliveries.command(epilog="Example: mlflow-bridge deliveries follow --model iris --version 7 --timeout 1800")
def follow(
    delivery_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Id of the delivery; alternatively use --model.")
    ] = None,
    model: Model = None,
    version: Version = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait.")] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until the runs of a delivery end.

    The bridge has to be running. With --model, waits for the delivery, too.

    Exits with status 0 if all runs succeeded, 1 if one did not, 3 after --timeout.
    """
    import asyncio

    from rich.console import Console

    from bridge.cli import following, rendering
    from bridge.ledger import Filter
    from bridge.settings import load

    if (delivery_id is None) == (model is None):
        raise typer.BadParameter("give either a delivery's id or --model")
    wanted = delivery_id or Filter(model=model, version=version, limit=1)
    progress = Console(markup=False, emoji=False, highlight=False, stderr=as_json)
    with report_errors():
        status, story = asyncio.run(following.follow(load().database_url, wanted, timeout, progress))
    if as_json:
        print_json(rendering.as_dict(story) if story else None)
    elif status == following.NOT_OVER:
        progress.print("still under way" if story else "no such delivery has come")
    raise typer.Exit(status)


def _console() -> "Console":
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def _not_there() -> NoReturn:
    print("the ledger has no delivery of that id: look with `mlflow-bridge deliveries list`", file=sys.stderr)
    raise typer.Exit(1)
