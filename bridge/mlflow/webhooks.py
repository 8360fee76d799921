"""Checks of MLflow's webhooks: does one lead to the bridge, with all events, and does its test delivery arrive. Pure.

Source: MLflow 3.17's `mlflow.webhooks.delivery` and `mlflow.utils.validation`, for what it refuses and in which words.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bridge.core.addresses import is_loopback, redact
from bridge.core.events import EventKind
from bridge.core.findings import Finding, failed, ok, warning
from bridge.core.routing import Route
from bridge.mlflow.signature import MAX_AHEAD

if TYPE_CHECKING:
    from bridge.mlflow.client import Webhook, WebhookTest

CHECK: Final = "webhook"
DELIVERY: Final = "delivery"

NAME: Final = "mlflow-bridge"
"""The default name of a webhook that `webhook create` creates."""

TRIAL: Final = "mlflow-bridge-rotation"
"""The name of the disabled webhook with which `webhook rotate` tests a secret; it deletes that webhook again."""

PATH: Final = "/webhook"

_MAX_QUOTE: Final = 300
"""Characters shown of what MLflow or the receiver answered."""


def required_events(routes: Iterable[Route]) -> tuple[str, ...]:
    """Return the events that any route dispatches, sorted."""
    return tuple(sorted({kind.value for route in routes for kind in route.kinds}))


def to_bridge(webhooks: Iterable["Webhook"], url: str | None = None) -> list["Webhook"]:
    """Return the webhooks to the bridge at `url`; without one, those that by name or address lead to any bridge."""
    webhooks = [webhook for webhook in webhooks if webhook.name != TRIAL]
    if url is not None:
        accepted = {url.rstrip("/"), url.rstrip("/") + PATH}
        return [webhook for webhook in webhooks if webhook.url.rstrip("/") in accepted]
    return [hook for hook in webhooks if hook.name == NAME or urlsplit(hook.url).path.rstrip("/").endswith(PATH)]


def event_to_test(webhook: "Webhook") -> str | None:
    """Return the event for MLflow's test delivery: one that the bridge supports, if the webhook has one."""
    supported = [event for event in webhook.events if event in list(EventKind)]
    return next(iter([*supported, *webhook.events]), None)


def check(webhook: "Webhook", events: Sequence[str]) -> list[Finding]:
    """Check the webhook as MLflow has it; `events` are the ones that it needs."""
    subject = label(webhook)
    findings = []
    hint = f"run `mlflow-bridge webhook create {redact(webhook.url)}` to update the webhook"
    if not webhook.active:
        findings.append(failed(CHECK, subject, "it is disabled, so MLflow delivers nothing", hint))
    if missing := [event for event in events if event not in webhook.events]:
        findings.append(failed(CHECK, subject, f"events are missing: {', '.join(missing)}", hint))
    if urlsplit(webhook.url).scheme == "http" and not is_loopback(webhook.url):
        message = "MLflow delivers over http, so anyone on the network path can read the models' names"
        hint = "put a TLS proxy in front of the bridge, and use its https address"
        findings.append(warning(CHECK, subject, message, hint))
    return findings or [ok(CHECK, subject, f"active, with the events {', '.join(webhook.events)}")]


def check_test(webhook: "Webhook", test: "WebhookTest") -> Finding:
    """Check the outcome of MLflow's test delivery, which the running bridge answers."""
    subject = label(webhook)

    # 1. MLflow sent it, and something answered.
    if test.status is None:
        return failed(DELIVERY, subject, *_explain_silence(test.error or "MLflow gave no reason"))

    # 2. The bridge answered, and not something else at that address.
    try:
        body = json.loads(test.body or "")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    if test.status == 200 and body.get("status") == "test":
        return ok(DELIVERY, subject, "MLflow's test delivery reached the bridge, with a valid signature")
    if body.get("status") not in ("refused", "unavailable"):
        hint = f"change the webhook's address to the bridge's, which ends with {PATH}, and check that it is running"
        return failed(DELIVERY, subject, f"something other than the bridge responded (status {test.status})", hint)

    # 3. The bridge did not accept it.
    answer = " ".join(f"{test.status} {body.get('detail', '')}".split())[:_MAX_QUOTE]
    hints = {
        400: f"synchronize both clocks with NTP: a delivery may be MAX_TIMESTAMP_AGE old and {MAX_AHEAD} s ahead",
        401: "MLflow has another secret; run `mlflow-bridge webhook rotate` with the running bridge's settings",
        422: "remove the events that the bridge doesn't support from the webhook",
        503: "fix the problem with the ledger that the bridge's log shows",
    }
    return failed(DELIVERY, subject, f"the bridge returned {answer}", hints.get(test.status, "check the bridge's log"))


def explain_refusal(text: str) -> str:
    """Return the hint for MLflow's refusal of a webhook's address; empty if `text` is no such refusal."""
    if "scheme" in text and "llowed schemes" in text:
        return (
            "put a TLS proxy in front of the bridge and use its https address, or start MLflow's server with "
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https"
        )
    if any(
        phrase in text for phrase in ("not resolve to a non-public", "is not a public IP address", "invalid IP address")
    ):
        return (
            "use a public address or, if the server's network is trusted, start MLflow's server with "
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true"
        )
    if "Cannot resolve" in text or "NameResolutionError" in text:
        return "use a host name that MLflow's server can resolve"
    return ""


def label(webhook: "Webhook") -> str:
    """Return name and address, without the parts of the address that may be secret."""
    return f"{webhook.name} → {redact(webhook.url)}"


def _explain_silence(error: str) -> tuple[str, str]:
    """Return message and hint for what MLflow reports of a test delivery that had no answer."""
    text = " ".join(error.removeprefix("Failed to test webhook: ").split())[:_MAX_QUOTE]
    if hint := explain_refusal(error):
        return f"MLflow refuses the address ({text})", hint
    if "SSL" in error or "certificate" in error.lower():
        hint = "use a certificate from a public CA; since version 3.15, MLflow ignores private CAs for webhooks"
        return f"MLflow does not trust the certificate ({text})", hint
    hint = "check that the bridge is running, and that MLflow's server can reach its address without a proxy"
    return f"MLflow can't reach the bridge ({text})", hint
