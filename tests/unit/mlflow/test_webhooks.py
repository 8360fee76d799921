import json

import pytest

from bridge.core.events import EventKind
from bridge.core.findings import FindingState
from bridge.core.routing import DEFAULT_KINDS, Route
from bridge.mlflow import webhooks
from bridge.mlflow.client import Webhook, WebhookTest

EVENTS = ["model_version.created", "model_version_alias.created"]


def made(**changes: object) -> Webhook:
    pairs = [dict(zip(("entity", "action"), event.upper().split("."), strict=True)) for event in EVENTS]
    standard = {"webhook_id": "1", "name": "hook", "url": "https://bridge.example.com/webhook", "events": pairs}
    return Webhook.model_validate({**standard, **changes})


def answered(status: int | None, body: object = None, error: str | None = None) -> WebhookTest:
    text = body if isinstance(body, str) else json.dumps(body)
    return WebhookTest.model_validate({"response_status": status, "response_body": text, "error_message": error})


def test_the_required_events_are_those_of_all_routes() -> None:
    route = Route("r", "o/n", "t")
    assert webhooks.required_events([route]) == tuple(EVENTS)
    tags = Route("t", "o/n", "t", kinds=frozenset({EventKind.TAG_SET}))
    assert set(webhooks.required_events([route, tags])) == {kind.value for kind in DEFAULT_KINDS} | {
        "model_version_tag.set"
    }


def test_webhooks_to_a_bridge_are_known_by_name_path_or_address() -> None:
    slack = made(webhook_id="2", url="https://hooks.slack.com/x", name="slack")
    behind = made(webhook_id="3", url="https://example.com/mlflow/webhook/")
    by_name = made(webhook_id="4", url="https://example.com/in", name="mlflow-bridge")
    trial = made(webhook_id="5", name="mlflow-bridge-rotation")
    every = [trial, made(), slack, behind, by_name]
    assert [each.id for each in webhooks.to_bridge(every)] == ["1", "3", "4"]
    assert [each.id for each in webhooks.to_bridge(every, "https://hooks.slack.com/x")] == ["2"]
    assert [each.id for each in webhooks.to_bridge(every, "https://bridge.example.com/")] == ["1"]


def test_a_test_delivery_has_an_event_that_the_bridge_supports() -> None:
    prompt = {"entity": "PROMPT", "action": "CREATED"}
    alias = {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}
    assert webhooks.event_to_test(made(events=[prompt, alias])) == "model_version_alias.created"
    assert webhooks.event_to_test(made(events=[prompt])) == "prompt.created"
    assert webhooks.event_to_test(made(events=[])) is None


def test_a_valid_webhook_is_ok() -> None:
    (finding,) = webhooks.check(made(), EVENTS)
    assert finding.state is FindingState.OK


def test_every_problem_of_a_webhook_is_found() -> None:
    wrong = made(
        status="DISABLED", events=[{"entity": "MODEL_VERSION", "action": "CREATED"}], url="http://b.example/webhook"
    )
    findings = webhooks.check(wrong, EVENTS)
    assert [finding.state for finding in findings] == [FindingState.FAILED, FindingState.FAILED, FindingState.WARNING]
    assert "model_version_alias.created" in findings[1].message
    assert all("webhook create http://b.example/webhook" in finding.hint for finding in findings[:2])


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_http_on_the_same_machine_is_no_warning(host: str) -> None:
    assert [each.state for each in webhooks.check(made(url=f"http://{host}/webhook"), EVENTS)] == [FindingState.OK]


def test_the_bridges_own_answer_to_a_test_is_ok() -> None:
    finding = webhooks.check_test(made(), answered(200, {"status": "test", "delivery_id": "x"}))
    assert finding.state is FindingState.OK


@pytest.mark.parametrize(
    ("test", "part", "hint"),
    [
        (answered(401, {"status": "refused", "detail": "no"}), "401 no", "webhook rotate"),
        (answered(400, {"status": "refused", "detail": "old"}), "400 old", "NTP"),
        (answered(422, {"status": "refused", "detail": "kind"}), "422 kind", "remove the events"),
        (answered(503, {"status": "unavailable", "detail": "x"}), "503 x", "ledger"),
        (answered(200, "<html>"), "other than the bridge responded (status 200)", "ends with /webhook"),
        (answered(404, {"detail": "Not Found"}), "other than the bridge responded (status 404)", "ends with /webhook"),
        (answered(502, "Bad Gateway"), "other than the bridge responded (status 502)", "is running"),
        (answered(200, "[1]"), "other than the bridge responded (status 200)", "ends with /webhook"),
        (answered(None, None, "Failed to test webhook: ConnectionError()"), "can't reach", "bridge is running"),
        (answered(None, None, "Failed to test webhook: SSLError(1)"), "not trust", "public CA"),
        (answered(None, None, None), "no reason", "bridge is running"),
        (
            answered(
                None, None, "MlflowException(\"Invalid webhook URL scheme: 'http'. Allowed schemes are: https.\")"
            ),
            "refuses the address",
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES",
        ),
        (
            answered(None, None, "Webhook URL must not resolve to a non-public IP address."),
            "refuses the address",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
        ),
        (
            answered(
                None, None, "SSRFProtectionError('Webhook connection blocked: 10.0.0.1 is not a public IP address"
            ),
            "refuses the address",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
        ),
        (answered(None, None, "Cannot resolve Webhook URL hostname 'x'"), "refuses the address", "resolve"),
    ],
)
def test_a_failed_test_delivery_has_a_hint(test: WebhookTest, part: str, hint: str) -> None:
    finding = webhooks.check_test(made(), test)
    assert finding.state is FindingState.FAILED
    assert part in finding.message
    assert hint in finding.hint


def test_a_password_in_the_address_is_not_shown() -> None:
    shown = webhooks.label(made(url="https://user:sentinel@bridge.example.com/webhook?token=sentinel"))
    assert shown == "hook → https://bridge.example.com/webhook"
