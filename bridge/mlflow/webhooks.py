"""MLflow's webhooks, judged: does one lead to the bridge, with all events, and does its test delivery arrive. Pure.

Source: MLflow 3.17's `mlflow.webhooks.delivery` and `mlflow.utils.validation`, for what it refuses and in which words.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from bridge.core.addresses import is_loopback
from bridge.core.events import EventKind
from bridge.core.findings import Finding, failed, ok, warning
from bridge.core.routing import Route
from bridge.mlflow.client import Webhook, WebhookTest
from bridge.mlflow.signature import MAX_AHEAD

CHECK: Final = "webhook"
DELIVERY: Final = "delivery"
NAME: Final = "mlflow-bridge"
"""What `webhook create` calls it."""
TRIAL: Final = "mlflow-bridge-rotation"
"""What `webhook rotate` calls the disabled one that it tries a secret by, and removes again."""

PATH: Final = "/webhook"

_ROTATE: Final = "run `mlflow-bridge webhook rotate`, with the running bridge's settings"
_ADDRESS: Final = (
    "must not resolve to a non-public",
    "is not a public IP address",
    "invalid IP address",
)


def needed(routes: Iterable[Route]) -> tuple[str, ...]:
    """Give the events that any route wants, sorted."""
    return tuple(sorted({kind.value for route in routes for kind in route.kinds}))


def ours(webhooks: Iterable[Webhook], url: str | None = None) -> list[Webhook]:
    """Give the webhooks that lead to a bridge: those of the address, else those that look like it. No trial is one."""
    webhooks = [each for each in webhooks if each.name != TRIAL]
    if url is not None:
        wanted = {url.rstrip("/"), url.rstrip("/") + PATH}
        return [each for each in webhooks if each.url.rstrip("/") in wanted]
    return [each for each in webhooks if each.name == NAME or urlsplit(each.url).path.rstrip("/").endswith(PATH)]


def to_test(webhook: Webhook) -> str | None:
    """Give the event of which MLflow is to send a test: one that the bridge takes, if there is one."""
    return next((event for event in webhook.events if event in list(EventKind)), next(iter(webhook.events), None))


def judge(webhook: Webhook, events: Sequence[str]) -> list[Finding]:
    """Judge what MLflow has written down of a webhook."""
    about = named(webhook)
    findings = []
    if not webhook.active:
        findings.append(failed(CHECK, about, "it is disabled, so that MLflow delivers nothing", _again(webhook)))
    if missing := [event for event in events if event not in webhook.events]:
        findings.append(failed(CHECK, about, f"it lacks the events {', '.join(missing)}", _again(webhook)))
    if urlsplit(webhook.url).scheme == "http" and not is_loopback(webhook.url):
        said = "MLflow delivers over http: whoever listens on the way reads the models' names"
        findings.append(
            warning(CHECK, about, said, "put a proxy with TLS before the bridge, and take its https address")
        )
    return findings or [ok(CHECK, about, f"it is active, for {', '.join(webhook.events)}")]


def tested(webhook: Webhook, test: WebhookTest) -> Finding:
    """Judge what came of MLflow's test delivery, which the running bridge answers."""
    about = named(webhook)
    if test.status is None:
        said, hint = _unanswered(test.error or "MLflow gave no reason")
        return failed(DELIVERY, about, said, hint)
    body = _body(test.body)
    if test.status == 200 and body.get("status") == "test":
        return ok(DELIVERY, about, "MLflow's test delivery reached the bridge, and its signature is right")
    said = " ".join(f"it was answered {test.status} {body.get('detail', '')}".split())[:300]
    if body.get("status") not in ("refused", "unavailable"):
        hint = f"set the webhook's address to the bridge's own, which ends with {PATH}, and see that the bridge runs"
        return failed(DELIVERY, about, f"what answered isn't the bridge (status {test.status})", hint)
    return failed(DELIVERY, about, said, _mend(test.status))


def refusal(said: str) -> str:
    """Give the mend for MLflow's words where it refuses a webhook's address; empty where it doesn't."""
    if "scheme" in said and "llowed schemes" in said:
        return (
            "put a proxy with TLS before the bridge and give its https address, or start MLflow's server with "
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https"
        )
    if any(words in said for words in _ADDRESS):
        return (
            "give a public address, or start MLflow's server with MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true, where its "
            "network is trusted"
        )
    if "Cannot resolve" in said or "NameResolutionError" in said:
        return "give a host name that MLflow's server can resolve"
    return ""


def named(webhook: Webhook) -> str:
    """Give name and address, without what may be a secret in it."""
    return f"{webhook.name} → {address(webhook.url)}"


def address(url: str) -> str:
    """Give the address without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _again(webhook: Webhook) -> str:
    return f"run `mlflow-bridge webhook create {address(webhook.url)}`: it mends the one that is there"


def _unanswered(error: str) -> tuple[str, str]:
    said = " ".join(error.removeprefix("Failed to test webhook: ").split())[:300]
    if hint := refusal(error):
        return f"MLflow refuses the address ({said})", hint
    if "SSL" in error or "certificate" in error.lower():
        return (
            f"MLflow doesn't trust the certificate ({said})",
            "take a certificate of a public authority: since 3.15 MLflow uses no CA bundle of its own for that",
        )
    return (
        f"MLflow can't reach the bridge ({said})",
        "see that the bridge runs, and that MLflow's server may reach its address (MLflow uses no proxy for that)",
    )


def _mend(status: int) -> str:
    match status:
        case 401:
            return f"MLflow signs with another secret than the running bridge has: {_ROTATE}"
        case 400:
            return f"let NTP set both clocks: a delivery may be MAX_TIMESTAMP_AGE old, and {MAX_AHEAD} s ahead"
        case 422:
            return "let the webhook have only events that the bridge takes"
        case 503:
            return "mend the ledger: the bridge's log says what is wrong with it"
    return "look at the bridge's log"


def _body(text: str | None) -> dict[str, object]:
    try:
        body = json.loads(text or "")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
