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


def test_the_events_that_are_needed_are_those_of_all_routes() -> None:
    route = Route("r", "o/n", "t")
    assert webhooks.needed([route]) == tuple(EVENTS)
    tags = Route("t", "o/n", "t", kinds=frozenset({EventKind.TAG_SET}))
    assert set(webhooks.needed([route, tags])) == {kind.value for kind in DEFAULT_KINDS} | {"model_version_tag.set"}


def test_ours_are_those_that_lead_to_a_bridge_or_to_the_address() -> None:
    slack = made(webhook_id="2", url="https://hooks.slack.com/x", name="slack")
    behind = made(webhook_id="3", url="https://example.com/mlflow/webhook/")
    named = made(webhook_id="4", url="https://example.com/in", name="mlflow-bridge")
    trial = made(webhook_id="5", name="mlflow-bridge-rotation")
    every = [trial, made(), slack, behind, named]
    assert [each.id for each in webhooks.ours(every)] == ["1", "3", "4"]
    assert [each.id for each in webhooks.ours(every, "https://hooks.slack.com/x")] == ["2"]
    assert [each.id for each in webhooks.ours(every, "https://bridge.example.com/")] == ["1"]


def test_a_test_is_of_an_event_that_the_bridge_takes() -> None:
    prompt = {"entity": "PROMPT", "action": "CREATED"}
    alias = {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}
    assert webhooks.to_test(made(events=[prompt, alias])) == "model_version_alias.created"
    assert webhooks.to_test(made(events=[prompt])) == "prompt.created"
    assert webhooks.to_test(made(events=[])) is None


def test_a_right_webhook_is_right() -> None:
    (finding,) = webhooks.judge(made(), EVENTS)
    assert finding.state is FindingState.OK


def test_everything_that_is_wrong_with_a_webhook_is_named() -> None:
    wrong = made(
        status="DISABLED", events=[{"entity": "MODEL_VERSION", "action": "CREATED"}], url="http://b.example/webhook"
    )
    findings = webhooks.judge(wrong, EVENTS)
    assert [finding.state for finding in findings] == [FindingState.FAILED, FindingState.FAILED, FindingState.WARNING]
    assert findings[1].message == "it lacks the events model_version_alias.created"
    assert all("webhook create http://b.example/webhook" in finding.hint for finding in findings[:2])


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_http_on_the_same_machine_is_no_warning(host: str) -> None:
    assert [each.state for each in webhooks.judge(made(url=f"http://{host}/webhook"), EVENTS)] == [FindingState.OK]


def test_the_bridges_own_answer_to_a_test_is_right() -> None:
    finding = webhooks.tested(made(), answered(200, {"status": "test", "delivery_id": "x"}))
    assert finding.state is FindingState.OK


@pytest.mark.parametrize(
    ("test", "said", "hint"),
    [
        (answered(401, {"status": "refused", "detail": "no"}), "it was answered 401 no", "webhook rotate"),
        (answered(400, {"status": "refused", "detail": "old"}), "it was answered 400 old", "NTP"),
        (answered(422, {"status": "refused", "detail": "kind"}), "it was answered 422 kind", "only events"),
        (answered(503, {"status": "unavailable", "detail": "x"}), "it was answered 503 x", "ledger"),
        (answered(200, "<html>"), "what answered isn't the bridge (status 200)", "ends with /webhook"),
        (answered(404, {"detail": "Not Found"}), "what answered isn't the bridge (status 404)", "ends with /webhook"),
        (answered(502, "Bad Gateway"), "what answered isn't the bridge (status 502)", "the bridge runs"),
        (answered(200, "[1]"), "what answered isn't the bridge (status 200)", "ends with /webhook"),
        (answered(None, None, "Failed to test webhook: ConnectionError()"), "MLflow can't reach", "the bridge runs"),
        (answered(None, None, "Failed to test webhook: SSLError(1)"), "MLflow doesn't trust", "public authority"),
        (answered(None, None, None), "MLflow can't reach the bridge (MLflow gave no reason)", "the bridge runs"),
        (
            answered(
                None, None, "MlflowException(\"Invalid webhook URL scheme: 'http'. Allowed schemes are: https.\")"
            ),
            "MLflow refuses the address",
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES",
        ),
        (
            answered(None, None, "Webhook URL must not resolve to a non-public IP address."),
            "MLflow refuses the address",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
        ),
        (
            answered(
                None, None, "SSRFProtectionError('Webhook connection blocked: 10.0.0.1 is not a public IP address"
            ),
            "MLflow refuses the address",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
        ),
        (answered(None, None, "Cannot resolve Webhook URL hostname 'x'"), "MLflow refuses the address", "resolve"),
    ],
)
def test_what_came_of_a_test_tells_what_to_mend(test: WebhookTest, said: str, hint: str) -> None:
    finding = webhooks.tested(made(), test)
    assert (finding.state, finding.message[: len(said)]) == (FindingState.FAILED, said)
    assert hint in finding.hint


def test_a_password_in_the_address_is_not_shown() -> None:
    shown = webhooks.named(made(url="https://user:sentinel@bridge.example.com/webhook?token=sentinel"))
    assert shown == "hook → https://bridge.example.com/webhook"
