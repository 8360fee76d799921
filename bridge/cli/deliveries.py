"""`mlflow-bridge deliveries …`: reads the ledger and sends from it again, whether the bridge runs or not."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from bridge.cli.output import console, print_json, report_errors
from bridge.core.dispatches import UNFINISHED, DispatchState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from bridge.ledger import DeliveryDetails, Dispatch, DispatchDetails, Filter, ResultPage

deliveries = typer.Typer(no_args_is_help=True, help="List, show, replay and follow MLflow's deliveries.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DeliveryId = Annotated[str, typer.Argument(metavar="ID", help="Id of the delivery, from `list` or the bridge's log.")]
Model = Annotated[str | None, typer.Option(help="Full name of the registered model.")]
Version = Annotated[str | None, typer.Option(help="Version of the model.")]

SUCCEEDED, FAILED, TIMEOUT = 0, 1, 3
"""Exit statuses of `follow`."""

_POLL: Final = 0.5
"""Seconds between two queries of the ledger; only the running bridge asks GitHub."""

_SUCCESSFUL: Final = frozenset({DispatchState.SUCCEEDED, DispatchState.SUPERSEDED})
"""The work of a superseded run is done by the newer one."""


@deliveries.command("list", epilog="Example: mlflow-bridge deliveries list --state failed --model iris")
def list_(
    state: Annotated[DispatchState | None, typer.Option(help="State of the latest dispatch.")] = None,
    model: Model = None,
    version: Version = None,
    search: Annotated[str, typer.Option(help="Part of the model's name.")] = "",
    before: Annotated[
        str | None, typer.Option(help="Start of the page, as printed at the end of the previous page.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of deliveries.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List deliveries, the most recently received or replayed first."""
    from bridge.cli import rendering
    from bridge.ledger import Filter, inspection, queries
    from bridge.settings import load

    criteria = Filter(state, search, model, version, before, limit)

    async def query() -> "ResultPage[DeliveryDetails]":
        async with inspection.opened(load().database_url) as ledger:
            return await ledger.read(queries.list_deliveries, criteria)

    with report_errors():
        page = asyncio.run(query())
    if as_json:
        print_json({"deliveries": [rendering.as_dict(details) for details in page.rows], "next": page.next})
        return
    out = console()
    out.print(rendering.table(page.rows) if page.rows else "no deliveries found")
    if page.next:
        out.print(f"next page: --before {page.next}")


@deliveries.command(epilog="Example: mlflow-bridge deliveries show 8f0847cb-24b7-4d3a-a5d7-d1b1ce0c22a9")
def show(delivery_id: DeliveryId, as_json: AsJson = False) -> None:
    """Show a delivery with its dispatches and GitHub's responses.

    Exits with status 1 if there is no such delivery.
    """
    from bridge.cli import rendering
    from bridge.ledger import inspection, queries
    from bridge.settings import load

    async def query() -> "DeliveryDetails | None":
        async with inspection.opened(load().database_url) as ledger:
            return await ledger.read(queries.find_delivery, delivery_id)

    with report_errors():
        details = asyncio.run(query())
    if details is None:
        _not_found()
    if as_json:
        print_json(rendering.as_dict(details))
    else:
        rendering.show(console(), details)


@deliveries.command(epilog="Example: mlflow-bridge deliveries replay 8f0847cb-24b7-4d3a-a5d7-d1b1ce0c22a9")
def replay(delivery_id: DeliveryId, as_json: AsJson = False) -> None:
    """Dispatch a delivery again with the current routes.

    The running bridge sends the new dispatches within 5 seconds. Pending dispatches of the delivery are withdrawn.

    Exits with status 1 if there is no such delivery, or if no route matches it any more.
    """
    from bridge.ledger import inspection, queries
    from bridge.settings import load
    from bridge.workers import intake

    async def send() -> "Sequence[Dispatch] | None":
        settings = load()
        async with inspection.opened(settings.database_url) as ledger:
            details = await ledger.read(queries.find_delivery, delivery_id)
            if details is None:
                return None
            return await intake.replay(ledger, details.delivery, settings.routes, now=ledger.time())

    with report_errors():
        dispatches = asyncio.run(send())
    if dispatches is None:
        _not_found()
    if not dispatches:
        typer.echo("no route matches this delivery any more: check GITHUB_REPOSITORY or ROUTES_FILE", err=True)
        raise typer.Exit(1)
    if as_json:
        ids = [dispatch.id for dispatch in dispatches]
        print_json({"status": "submitted", "delivery_id": delivery_id, "dispatch_ids": ids})
        return
    for dispatch in dispatches:
        typer.echo(f"dispatch {dispatch.id} to {dispatch.repository} via route {dispatch.route}")


@deliveries.command(epilog="Example: mlflow-bridge deliveries follow --model iris --version 7 --timeout 1800")
def follow(
    delivery_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Id of the delivery, unless you use --model.")
    ] = None,
    model: Model = None,
    version: Version = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Maximum time to wait, in seconds.")] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until the runs of a delivery have finished.

    The bridge must be running. With --model, also waits for the delivery to arrive.

    Exits with status 0 if all runs succeeded, 1 if any run did not, 3 if the --timeout was reached.
    """
    from bridge.cli import rendering
    from bridge.ledger import Filter
    from bridge.settings import load

    if (delivery_id is None) == (model is None):
        raise typer.BadParameter("specify either the id of a delivery or --model")
    criteria = delivery_id or Filter(model=model, version=version, limit=1)
    progress = console(stderr=as_json)
    with report_errors():
        status, details = asyncio.run(_follow(load().database_url, criteria, timeout, progress))
    if as_json:
        print_json(rendering.as_dict(details) if details else None)
    elif status == TIMEOUT:
        progress.print("not finished yet" if details else "no matching delivery has arrived")
    raise typer.Exit(status)


async def _follow(
    url: str, criteria: "Filter | str", timeout: float | None, out: "Console"
) -> "tuple[int, DeliveryDetails | None]":
    """Follow the delivery of that id, or the newest that matches; return the exit status and what was seen last."""
    from bridge.cli.rendering import subject
    from bridge.ledger import inspection, lanes, queries

    deadline = None if timeout is None else time.monotonic() + timeout
    printed: dict[str, tuple[DispatchState, str | None]] = {}
    details: DeliveryDetails | None = None
    pause = None
    async with inspection.opened(url) as ledger:
        with out.status("waiting for the delivery") as status:
            while deadline is None or time.monotonic() < deadline:
                if isinstance(criteria, str):
                    details = await ledger.read(queries.find_delivery, criteria)
                else:
                    details = next(iter((await ledger.read(queries.list_deliveries, criteria)).rows), None)
                sent = newest(details) if details else []
                for dispatch in sent:
                    current = dispatch.state, dispatch.run_url or dispatch.reason
                    if details and printed.get(dispatch.id) != current:
                        printed[dispatch.id] = current
                        text = f"{subject(details.delivery.event)} → {dispatch.repository}: {dispatch.state.value}"
                        suffix = f": {current[1]}" if current[1] else ""
                        out.print(f"{time.strftime('%H:%M:%S')} {text}{suffix}", soft_wrap=True)
                if sent and not any(dispatch.state in UNFINISHED for dispatch in sent):
                    succeeded = all(dispatch.state in _SUCCESSFUL for dispatch in sent)
                    return SUCCEEDED if succeeded else FAILED, details
                states = ", ".join(f"{dispatch.repository}: {dispatch.state.value}" for dispatch in sent)
                last_pause, pause = pause, pause_of(sent, await ledger.read(lanes.pause_reasons))
                status.update(pause or states or "waiting for the delivery")
                if pause and pause != last_pause:
                    out.print(pause, soft_wrap=True)
                await asyncio.sleep(_POLL)
    return TIMEOUT, details


def newest(details: "DeliveryDetails") -> "list[DispatchDetails]":
    """Return the last dispatches, of one route or several: all others were made before a replay."""
    return [dispatch for dispatch in details.dispatches if dispatch.created_at == details.dispatches[0].created_at]


def pause_of(sent: "Sequence[DispatchDetails]", reasons: "Mapping[str, str]") -> str | None:
    """Return why a pending dispatch is not sent now, if a lane is paused."""
    if any(dispatch.state is DispatchState.PENDING for dispatch in sent):
        for reason in reasons.values():
            return f"dispatching is paused: {reason}"
    return None


def _not_found() -> NoReturn:
    typer.echo("the ledger has no delivery with this id: run `mlflow-bridge deliveries list`", err=True)
    raise typer.Exit(1)
