"""`mlflow-bridge webhook …`."""

from typing import Annotated

import typer

from bridge.cli.output import print_json, report_errors

webhook = typer.Typer(no_args_is_help=True, help="MLflow's webhook to the bridge: make it, look at it, test it.")

AsJson = Annotated[bool, typer.Option("--json", help="Give it as JSON.")]
Wanted = Annotated[
    str | None,
    typer.Argument(metavar="WEBHOOK", help="Its id, name or address; not needed where only one leads to a bridge."),
]


@webhook.command(epilog="Example: mlflow-bridge webhook create https://bridge.example.com/webhook")
def create(
    url: Annotated[str, typer.Argument(help="The bridge's address as MLflow reaches it.")],
    name: Annotated[str, typer.Option(help="What MLflow is to call it.")] = "mlflow-bridge",
    as_json: AsJson = False,
) -> None:
    """Register the webhook with MLflow, for the events that the routes want and with MLFLOW_WEBHOOK_SECRET; test it.

    One that is there already is enabled and gets the events that it lacks. Ends with status 1 where MLflow refuses the
    address, or where the test delivery doesn't arrive.
    """
    from bridge.cli import webhooks
    from bridge.core.findings import FindingState
    from bridge.settings import load

    with report_errors():
        settings = load()
        with webhooks.mlflow(settings) as api:
            made, is_new = webhooks.create(api, settings, url, name)
            found = webhooks.test(api, made)
    if as_json:
        tested = {"state": found.state, "message": found.message, "hint": found.hint}
        print_json({**webhooks.as_dict(made), "created": is_new, "test": tested})
    else:
        done = "created" if is_new else "brought up to date"
        typer.echo(f"{done}: {made.name} ({made.id}) → {webhooks.as_dict(made)['url']}")
        typer.echo(f"{found.state}: {found.message}" + (f": {found.hint}" if found.hint else ""))
    raise typer.Exit(int(found.state is not FindingState.OK))


@webhook.command("list", epilog="Example: mlflow-bridge webhook list --json")
def list_(as_json: AsJson = False) -> None:
    """List MLflow's webhooks, and say which of them lead to a bridge."""
    from rich.console import Console
    from rich.table import Column, Table

    from bridge.cli import webhooks
    from bridge.mlflow.webhooks import address, ours
    from bridge.settings import load

    with report_errors(), webhooks.mlflow(load()) as api:
        found = list(api.webhooks())
    leading = {each.id for each in ours(found)}
    if as_json:
        print_json([{**webhooks.as_dict(each), "leads_to_bridge": each.id in leading} for each in found])
        return
    table = Table(
        Column("id", no_wrap=True, min_width=36),
        "name",
        Column("address", overflow="fold"),
        "events",
        "state",
        "to a bridge",
    )
    for each in found:
        to_us = "yes" if each.id in leading else "no"
        table.add_row(each.id, each.name, address(each.url), "\n".join(each.events), each.status.lower(), to_us)
    Console(markup=False, emoji=False, highlight=False).print(table)


@webhook.command("test", epilog="Example: mlflow-bridge webhook test")
def try_(wanted: Wanted = None, as_json: AsJson = False) -> None:
    """Let MLflow send its test event to the running bridge. Ends with status 1 where that isn't taken."""
    from bridge.cli import webhooks
    from bridge.core.findings import FindingState
    from bridge.settings import load

    with report_errors(), webhooks.mlflow(load()) as api:
        found = webhooks.test(api, webhooks.find(api, wanted))
    if as_json:
        print_json({"state": found.state, "subject": found.subject, "message": found.message, "hint": found.hint})
    else:
        typer.echo(f"{found.state}: {found.subject}: {found.message}" + (f": {found.hint}" if found.hint else ""))
    raise typer.Exit(int(found.state is not FindingState.OK))


@webhook.command(epilog="Example: mlflow-bridge webhook rotate")
def rotate(wanted: Wanted = None) -> None:
    """Change the webhook's secret without a lost delivery, step by step: run it again after each step that is yours.

    First the bridge gets the new secret beside the old one, then MLflow changes to it, last the old one is taken out.
    Ends with status 1 where something is in the way.
    """
    from bridge.cli import webhooks
    from bridge.settings import load

    with report_errors():
        settings = load()
        with webhooks.mlflow(settings) as api:
            well = webhooks.rotate(api, settings, webhooks.find(api, wanted), typer.echo)
    raise typer.Exit(int(not well))
