"""`mlflow-bridge webhook …`: creates, lists and tests MLflow's webhook, and rotates its secret."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from bridge.cli.output import console, print_json, report_errors
from bridge.core.addresses import redact
from bridge.core.errors import BridgeError
from bridge.core.findings import Finding, FindingState

if TYPE_CHECKING:
    from bridge.mlflow.client import MlflowApi, Webhook, WebhookTest
    from bridge.settings import Settings

_CACHE: Final = 60
"""Seconds for which MLflow goes on signing with the secret that it had (`MLFLOW_WEBHOOK_CACHE_TTL`)."""

GENERATE: Final = "generate one with `openssl rand -base64 32`"

webhook = typer.Typer(no_args_is_help=True, help="Manage MLflow's webhook to the bridge.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Selected = Annotated[
    str | None,
    typer.Argument(metavar="WEBHOOK", help="Id, name or address; optional if exactly one webhook points to a bridge."),
]


class WebhookRefused(BridgeError):
    """There is no such webhook, or MLflow would not deliver to it."""


@webhook.command("create", epilog="Example: mlflow-bridge webhook create https://bridge.example.com/webhook")
def create_command(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address at which MLflow reaches the bridge.")],
    name: Annotated[str, typer.Option(help="Name of a new webhook.")] = "mlflow-bridge",
    no_test: Annotated[
        bool,
        typer.Option("--no-test", help="Don't send a test delivery, for example if the bridge is not running yet."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create or update MLflow's webhook to the bridge, and test it.

    A new webhook gets the events that the routes need, and MLFLOW_WEBHOOK_SECRET as its secret. An existing webhook to
    this address is enabled and gets any missing events; it keeps its secret.

    Exits with status 1 if MLflow refuses the address or the test delivery fails.
    """
    from bridge.settings import load

    with report_errors():
        settings = load()
        with _mlflow(settings) as api:
            created, is_new = create(api, settings, url, name)
            finding = None if no_test else send_test(api, created)
    if as_json:
        outcome = finding and {"state": finding.state, "message": finding.message, "hint": finding.hint}
        print_json({**_as_dict(created), "created": is_new, "test": outcome})
    else:
        typer.echo(f"{'created' if is_new else 'updated'}: {created.name} ({created.id}) → {redact(created.url)}")
        if finding:
            typer.echo(f"test delivery: {_as_text(finding)}")
    raise typer.Exit(int(finding is not None and finding.state is not FindingState.OK))


@webhook.command("list", epilog="Example: mlflow-bridge webhook list --json")
def list_command(as_json: AsJson = False) -> None:
    """List MLflow's webhooks, and show which of them point to a bridge."""
    from rich.table import Column, Table

    from bridge.mlflow.webhooks import to_bridge
    from bridge.settings import load

    with report_errors(), _mlflow(load()) as api:
        webhooks = list(api.webhooks())
    leading = {hook.id for hook in to_bridge(webhooks)}
    if as_json:
        print_json([{**_as_dict(hook), "leads_to_bridge": hook.id in leading} for hook in webhooks])
        return
    table = Table(
        Column("id", no_wrap=True, min_width=36),
        "name",
        Column("address", overflow="fold"),
        "events",
        "state",
        "to a bridge",
    )
    for hook in webhooks:
        leads = "yes" if hook.id in leading else "no"
        table.add_row(hook.id, hook.name, redact(hook.url), "\n".join(hook.events), hook.status.lower(), leads)
    console().print(table)


@webhook.command("test", epilog="Example: mlflow-bridge webhook test")
def send_test_command(selected: Selected = None, as_json: AsJson = False) -> None:
    """Have MLflow send a test delivery to the running bridge.

    Exits with status 1 if the bridge does not accept it.
    """
    from bridge.settings import load

    with report_errors(), _mlflow(load()) as api:
        finding = send_test(api, find(api, selected))
    if as_json:
        fields = ("state", "subject", "message", "hint")
        print_json({field: getattr(finding, field) for field in fields})
    else:
        typer.echo(f"{finding.subject}: {_as_text(finding)}")
    raise typer.Exit(int(finding.state is not FindingState.OK))


@webhook.command("rotate", epilog="Example: mlflow-bridge webhook rotate")
def rotate_command(selected: Selected = None) -> None:
    """Rotate the webhook's secret without losing a delivery.

    Does the next safe step and prints what to do next: run the command again after each manual step. First, you add the
    new secret to the bridge and keep the previous one. Then the command changes the secret in MLflow. Finally, you
    remove the previous secret from the bridge.

    Exits with status 1 if the rotation cannot proceed.
    """
    from bridge.settings import load

    with report_errors():
        settings = load()
        with _mlflow(settings) as api:
            proceeds = rotate(api, settings, find(api, selected), typer.echo)
    raise typer.Exit(int(not proceeds))


def create(api: "MlflowApi", settings: "Settings", url: str, name: str) -> tuple["Webhook", bool]:
    """Return the active webhook to `url` with all events that a route needs, and whether it is new.

    An existing webhook keeps its secret. Raises `WebhookRefused` if MLflow would never deliver to the address.
    """
    from bridge.mlflow.webhooks import PATH, required_events, to_bridge

    # 1. The secret, without which the bridge accepts no delivery.
    secret = _secret(settings)

    # 2. The address, which has our path if it has none.
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise WebhookRefused(
            "the URL is not a valid webhook address", "use an address such as https://bridge.example.com/webhook"
        )
    if parts.path in ("", "/"):
        url = parts._replace(path=PATH).geturl()

    # 3. An existing webhook is updated.
    events = required_events(settings.routes)
    for existing in to_bridge(api.webhooks(), url):
        api.update_webhook(existing.id, events=sorted({*events, *existing.events}), active=True)
        return _read(api, existing.id), False

    # 4. Otherwise there is a new one.
    return _read(api, _register(api, name, url, events, secret)), True


def find(api: "MlflowApi", selected: str | None) -> "Webhook":
    """Return the webhook of that id, name or address; without one, the only webhook that leads to a bridge."""
    from bridge.mlflow.webhooks import label, to_bridge

    webhooks = list(api.webhooks())
    matching = to_bridge(webhooks)
    if selected is not None:
        matching = [hook for hook in webhooks if selected in (hook.id, hook.name, hook.url)]
    if not matching:
        raise WebhookRefused(
            "MLflow has no matching webhook", "run `mlflow-bridge webhook list`, or `mlflow-bridge webhook create URL`"
        )
    if len(matching) > 1:
        names = ", ".join(f"{label(hook)} ({hook.id})" for hook in matching)
        raise WebhookRefused(f"{len(matching)} webhooks match ({names})", "select one by its id")
    return matching[0]


def send_test(api: "MlflowApi", webhook: "Webhook") -> Finding:
    """Have MLflow send its test event to the bridge, and return the outcome."""
    from bridge.mlflow.webhooks import check_test

    return check_test(webhook, _deliver(api, webhook))


def rotate(api: "MlflowApi", settings: "Settings", webhook: "Webhook", echo: Callable[[str], None]) -> bool:
    """Do the next step of the rotation, print what follows, and return whether the rotation can proceed.

    No delivery is lost in this order: the bridge accepts both secrets, MLflow changes to the new one, and the bridge
    drops the old one.
    """
    from bridge.mlflow.webhooks import check_test

    secret = _secret(settings)
    previous = settings.mlflow_webhook_secret_previous

    # 1. Does the running bridge accept MLflow's deliveries today? If it only rejects the signature, we can go on.
    answer = _deliver(api, webhook)
    current = check_test(webhook, answer)
    is_accepted = current.state is FindingState.OK
    if not is_accepted and answer.status != 401:
        echo(f"nothing was changed: {_as_text(current)}")
        return False

    # 2. Does it accept MLFLOW_WEBHOOK_SECRET? The trial never leaves the webhook itself with a wrong secret.
    trial = _try_secret(api, webhook, secret)
    if trial.state is not FindingState.OK:
        echo(f"nothing was changed: the running bridge does not accept MLFLOW_WEBHOOK_SECRET ({trial.message})")
        echo("  restart the bridge (all replicas) with the same settings as this command, and run the command again")
        return False

    # 3. MLflow and the bridge agree on the only secret that there is: the rotation has not begun.
    if is_accepted and previous is None:
        echo("step 1 of 3, manual: add a new secret to the bridge, and keep the previous one")
        echo("  set MLFLOW_WEBHOOK_SECRET_PREVIOUS to the value of MLFLOW_WEBHOOK_SECRET")
        echo(f"  set MLFLOW_WEBHOOK_SECRET to a new secret: {GENERATE}")
        echo("  restart the bridge (all replicas) with both, and run this command again with the same settings")
        echo("nothing was changed")
        return True

    # 4. The bridge accepts the new secret, so MLflow may sign with it.
    if not is_accepted:
        echo("MLflow's deliveries have been refused: MLflow signs with a secret that the running bridge does not have")
    echo("a test delivery shows that the running bridge accepts the new secret")
    api.update_webhook(webhook.id, secret=secret)
    outcome = send_test(api, webhook)
    if outcome.state is not FindingState.OK:
        if previous:
            api.update_webhook(webhook.id, secret=previous.get_secret_value())
            echo("the previous secret was restored in MLflow")
        echo(f"the test delivery with the new secret failed: {_as_text(outcome)}")
        return False
    echo("step 2 of 3, done: MLflow signs with the new secret, and the bridge accepted a test delivery")

    # 5. What MLflow signed with the old secret may still be on its way.
    if previous:
        minutes = (_CACHE + settings.max_timestamp_age) / 60
        echo(
            f"step 3 of 3, manual: wait {minutes:.0f} minutes, because deliveries signed with the previous secret may "
            "still arrive; then unset MLFLOW_WEBHOOK_SECRET_PREVIOUS and restart the bridge (all replicas)"
        )
    return True


def _deliver(api: "MlflowApi", webhook: "Webhook") -> "WebhookTest":
    from bridge.mlflow.webhooks import event_to_test

    event = event_to_test(webhook)
    if event is None:
        raise WebhookRefused("the webhook has no event that can be tested", "run `mlflow-bridge webhook create URL`")
    return api.test_webhook(webhook.id, event)


def _try_secret(api: "MlflowApi", webhook: "Webhook", secret: str) -> Finding:
    """Test the secret with a disabled webhook to the same address."""
    from bridge.mlflow.client import MlflowError
    from bridge.mlflow.webhooks import TRIAL

    for leftover in [hook for hook in api.webhooks() if hook.name == TRIAL]:
        api.delete_webhook(leftover.id)
    trial = _register(api, TRIAL, webhook.url, webhook.events, secret, active=False)
    try:
        return send_test(api, _read(api, trial))
    finally:
        with suppress(MlflowError):  # the next rotation deletes it
            api.delete_webhook(trial)


def _register(
    api: "MlflowApi", name: str, url: str, events: tuple[str, ...], secret: str, *, active: bool = True
) -> str:
    """Create the webhook and return its id; an address that MLflow refuses is explained."""
    from bridge.mlflow.client import MlflowError
    from bridge.mlflow.webhooks import explain_refusal

    try:
        return api.create_webhook(name, url, events, secret, active=active)
    except MlflowError as error:
        if hint := explain_refusal(error.mlflow_message):
            raise WebhookRefused(f"MLflow refuses to deliver to {url} ({error.message})", hint) from error
        raise


def _read(api: "MlflowApi", webhook_id: str) -> "Webhook":
    return next(hook for hook in api.webhooks() if hook.id == webhook_id)


def _secret(settings: "Settings") -> str:
    if settings.mlflow_webhook_secret is None:
        raise WebhookRefused(
            "MLFLOW_WEBHOOK_SECRET is not set", f"{GENERATE}, set it here and for the bridge, and restart the bridge"
        )
    return settings.mlflow_webhook_secret.get_secret_value()


@contextmanager
def _mlflow(settings: "Settings") -> Iterator["MlflowApi"]:
    from bridge import clients

    api = clients.mlflow(settings)
    if api is None:
        hint = "set it to MLflow's address, such as https://mlflow.example.com"
        raise WebhookRefused("MLFLOW_TRACKING_URI is not set", hint)
    with api:
        yield api


def _as_dict(webhook: "Webhook") -> dict[str, Any]:
    plain = {"id": webhook.id, "name": webhook.name, "url": redact(webhook.url)}
    return {**plain, "events": list(webhook.events), "status": webhook.status.lower()}


def _as_text(finding: Finding) -> str:
    return f"{finding.state}: {finding.message}" + (f": {finding.hint}" if finding.hint else "")
