"""MLflow's webhooks from the command line: made, listed, tested, and given another secret without a lost delivery."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

from bridge import clients
from bridge.core.errors import BridgeError
from bridge.core.findings import Finding, FindingState
from bridge.mlflow import webhooks as judged
from bridge.mlflow.client import MlflowApi, MlflowError, Webhook, WebhookTest
from bridge.settings import Settings

_CACHE: Final = 60
"""Seconds that MLflow goes on signing deliveries with the secret that it had (`MLFLOW_WEBHOOK_CACHE_TTL`)."""

MAKE_ONE: Final = "make one with `openssl rand -base64 32`"

Say = Callable[[str], None]


class WebhookRefused(BridgeError):
    """There is no webhook, or there can be none, as it is asked for."""


@contextmanager
def mlflow(settings: Settings) -> Iterator[MlflowApi]:
    """Give a client of MLflow; raises `WebhookRefused` where no address is set."""
    api = clients.mlflow(settings)
    if api is None:
        raise WebhookRefused(
            "MLFLOW_TRACKING_URI is not set: set it to MLflow's address, such as https://mlflow.example.com"
        )
    with api:
        yield api


def create(api: MlflowApi, settings: Settings, url: str, name: str) -> tuple[Webhook, bool]:
    """Give the webhook to that address, active and with all events that a route wants; and whether it is new.

    One that is there keeps its secret. Raises `WebhookRefused` with the mend where MLflow would never deliver to it.
    """
    url = _address(url)
    events = judged.needed(settings.routes)
    for known in judged.ours(api.webhooks(), url):
        api.update_webhook(known.id, events=sorted({*events, *known.events}), active=True)
        return _read(api, known.id), False
    made = _register(api, name, url, events, _secret(settings))
    return _read(api, made), True


def _register(api: MlflowApi, name: str, url: str, events: tuple[str, ...], secret: str, *, active: bool = True) -> str:
    """Register it, and say what to do where MLflow refuses the address."""
    try:
        return api.create_webhook(name, url, events, secret, active=active)
    except MlflowError as error:
        if hint := judged.refusal(str(error)):
            raise WebhookRefused(f"MLflow would never deliver to {url} ({error}): {hint}") from error
        raise


def find(api: MlflowApi, wanted: str | None) -> Webhook:
    """Give the webhook of that id, name or address; without one, the only one that leads to a bridge."""
    known = list(api.webhooks())
    found = judged.ours(known)
    if wanted is not None:
        found = [each for each in known if wanted in (each.id, each.name, each.url)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise WebhookRefused("MLflow has no such webhook: look with `mlflow-bridge webhook list`, or create it")
    names = ", ".join(f"{judged.named(each)} ({each.id})" for each in found)
    raise WebhookRefused(f"{len(found)} webhooks lead to a bridge ({names}): name one by its id")


def as_dict(webhook: Webhook) -> dict[str, Any]:
    """Give it as JSON has it, without what may be a secret in its address."""
    address, status = judged.address(webhook.url), webhook.status.lower()
    return {"id": webhook.id, "name": webhook.name, "url": address, "events": list(webhook.events), "status": status}


def test(api: MlflowApi, webhook: Webhook) -> Finding:
    """Let MLflow deliver its test event, and judge the answer."""
    return judged.tested(webhook, _deliver(api, webhook))


def _deliver(api: MlflowApi, webhook: Webhook) -> WebhookTest:
    event = judged.to_test(webhook)
    if event is None:
        raise WebhookRefused("the webhook has no events, so there is none to test: run `mlflow-bridge webhook create`")
    return api.test_webhook(webhook.id, event)


def rotate(api: MlflowApi, settings: Settings, webhook: Webhook, say: Say) -> bool:
    """Do what is due now on the way to another secret, say what is next, and tell whether all is well.

    The order that loses nothing: first the bridge takes both secrets, then MLflow changes, last the old one goes. A
    secret is tried by a disabled webhook of its own to the same address, so that the real one never has a wrong one.
    """
    secret = _secret(settings)
    answer = _deliver(api, webhook)
    now = judged.tested(webhook, answer)
    if now.state is not FindingState.OK and answer.status != 401:
        say(f"nothing was changed: {now.message}: {now.hint}")
        return False
    tried = _try(api, webhook, secret)
    if tried.state is not FindingState.OK:
        say(f"nothing was changed: the running bridge doesn't take today's MLFLOW_WEBHOOK_SECRET ({tried.message})")
        say("  give the bridge the same settings as this command has, restart it (all replicas), and run this again")
        return False
    if now.state is FindingState.OK and settings.mlflow_webhook_secret_previous is None:
        _first(say)
        return True
    if now.state is not FindingState.OK:
        say("MLflow's deliveries were refused until now: it signs with a secret that the running bridge doesn't know")
    return _change(api, settings, webhook, secret, say)


def _first(say: Say) -> None:
    say("step 1 of 3, yours: let the bridge take a new secret beside the one that MLflow has")
    say(f"  {MAKE_ONE}")
    say("  set MLFLOW_WEBHOOK_SECRET_PREVIOUS to what MLFLOW_WEBHOOK_SECRET is now")
    say("  set MLFLOW_WEBHOOK_SECRET to the new one")
    say("  restart the bridge (all replicas) with both, and run this command again with the same settings")
    say("nothing was changed")


def _change(api: MlflowApi, settings: Settings, webhook: Webhook, secret: str, say: Say) -> bool:
    say("the running bridge takes the new secret: tried by a test delivery")
    api.update_webhook(webhook.id, secret=secret)
    after = test(api, webhook)
    if after.state is not FindingState.OK:
        if previous := settings.mlflow_webhook_secret_previous:
            api.update_webhook(webhook.id, secret=previous.get_secret_value())
            say("MLflow has the previous secret again")
        say(f"the test delivery with the new secret failed: {after.message}: {after.hint}")
        return False
    say("step 2 of 3, done: MLflow signs with the new secret, and its test delivery was taken")
    if settings.mlflow_webhook_secret_previous:
        minutes = (_CACHE + settings.max_timestamp_age) / 60
        say(
            f"step 3 of 3, yours: in {minutes:.0f} minutes or later take MLFLOW_WEBHOOK_SECRET_PREVIOUS out of the "
            f"bridge's settings and restart it; until then MLflow may still send what it signed with the old one"
        )
    return True


def _try(api: MlflowApi, webhook: Webhook, secret: str) -> Finding:
    for left in [each for each in api.webhooks() if each.name == judged.TRIAL]:
        api.delete_webhook(left.id)
    trial = _register(api, judged.TRIAL, webhook.url, webhook.events, secret, active=False)
    try:
        return test(api, webhook=_read(api, trial))
    finally:
        with suppress(MlflowError):  # the next rotation deletes it
            api.delete_webhook(trial)


def _read(api: MlflowApi, webhook_id: str) -> Webhook:
    return next(each for each in api.webhooks() if each.id == webhook_id)


def _secret(settings: Settings) -> str:
    if settings.mlflow_webhook_secret is None:
        raise WebhookRefused(
            f"MLFLOW_WEBHOOK_SECRET is not set: {MAKE_ONE}, set it here and for the bridge, and restart the bridge"
        )
    return settings.mlflow_webhook_secret.get_secret_value()


def _address(url: str) -> str:
    """Check what can be told without MLflow, and add the path where there is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise WebhookRefused("that is no address of a bridge: give one such as https://bridge.example.com/webhook")
    if parts.path in ("", "/"):
        return parts._replace(path=judged.PATH).geturl()
    return url
