"""Rotation and creation, step by step, with MLflow and the bridge in memory."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.cli.webhook import WebhookRefused, create, find, rotate
from bridge.mlflow.client import MlflowApi, MlflowError, Webhook, WebhookTest
from bridge.settings import Settings

URL = "https://bridge.example.com/webhook"
EVENTS = ("model_version.created", "model_version_alias.created")


def failed_test(reason: str) -> WebhookTest:
    return WebhookTest.model_validate({"error_message": reason})


class FakeMlflow(MlflowApi):
    """MLflow's webhooks in memory, and a bridge that accepts deliveries with the secrets in `accepted`."""

    def __init__(self, *accepted: str) -> None:
        self.accepted = set(accepted)
        self.known: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, list[str]] = {}
        self.down = False
        self.refuses = ""

    def webhooks(self) -> Iterator[Webhook]:
        yield from [Webhook.model_validate(known) for known in self.known.values()]

    def create_webhook(self, name: str, url: str, events: Iterable[str], secret: str, *, active: bool = True) -> str:
        if self.refuses:
            raise MlflowError("MLflow rejected the request", mlflow_message=self.refuses)
        webhook_id = str(len(self.secrets))
        pairs = [dict(zip(("entity", "action"), event.upper().split("."), strict=True)) for event in events]
        status = "ACTIVE" if active else "DISABLED"
        self.known[webhook_id] = {"webhook_id": webhook_id, "name": name, "url": url, "events": pairs, "status": status}
        self.secrets[webhook_id] = [secret]
        return webhook_id

    def update_webhook(
        self, webhook_id: str, *, secret: str | None = None, events: Iterable[str] = (), active: bool = False
    ) -> None:
        if secret:
            self.secrets[webhook_id].append(secret)

    def delete_webhook(self, webhook_id: str) -> None:
        del self.known[webhook_id]

    def test_webhook(self, webhook_id: str, event: str) -> WebhookTest:
        if self.down:
            return failed_test("Failed to test webhook: ConnectionError()")
        status, word = (200, "test") if self.secrets[webhook_id][-1] in self.accepted else (401, "refused")
        return WebhookTest.model_validate({"response_status": status, "response_body": json.dumps({"status": word})})


def settings(current: str | None = "old", previous: str | None = None) -> Settings:
    return Settings(
        github_repository="o/n",
        github_token=SecretStr("t"),
        mlflow_tracking_uri="https://mlflow.example.com",
        mlflow_webhook_secret=SecretStr(current) if current else None,
        mlflow_webhook_secret_previous=SecretStr(previous) if previous else None,
    )


def rotated(mlflow: FakeMlflow, with_settings: Settings) -> tuple[bool, str]:
    lines: list[str] = []
    proceeds = rotate(mlflow, with_settings, next(mlflow.webhooks()), lines.append)
    assert [known.name for known in mlflow.webhooks()] == ["hook"], "the trial is deleted"
    return proceeds, "\n".join(lines)


@pytest.fixture
def mlflow() -> FakeMlflow:
    mlflow = FakeMlflow("old")
    mlflow.create_webhook("hook", URL, EVENTS, "old")
    return mlflow


def test_with_one_secret_the_first_step_is_printed_and_nothing_changes(mlflow: FakeMlflow) -> None:
    proceeds, printed = rotated(mlflow, settings())
    assert proceeds
    assert "step 1 of 3" in printed
    assert "MLFLOW_WEBHOOK_SECRET_PREVIOUS" in printed
    assert mlflow.secrets["0"] == ["old"]


def test_a_bridge_that_was_not_restarted_stops_it(mlflow: FakeMlflow) -> None:
    proceeds, printed = rotated(mlflow, settings("new", "old"))
    assert not proceeds
    assert "nothing was changed" in printed
    assert mlflow.secrets["0"] == ["old"]


def test_with_both_secrets_mlflow_is_changed_and_a_repetition_does_no_harm(mlflow: FakeMlflow) -> None:
    mlflow.accepted.add("new")
    for _ in range(2):
        proceeds, printed = rotated(mlflow, settings("new", "old"))
        assert proceeds
        assert "step 2 of 3, done" in printed
        assert "6 minutes" in printed
    assert mlflow.secrets["0"] == ["old", "new", "new"]


def test_a_bridge_that_cannot_be_reached_stops_it(mlflow: FakeMlflow) -> None:
    mlflow.down = True
    proceeds, printed = rotated(mlflow, settings("new", "old"))
    assert not proceeds
    assert "nothing was changed" in printed
    assert mlflow.secrets["0"] == ["old"]


def test_a_webhook_whose_secret_is_unknown_gets_the_current_one(mlflow: FakeMlflow) -> None:
    mlflow.accepted = {"new"}
    assert rotated(mlflow, settings("new"))[0]
    assert mlflow.secrets["0"] == ["old", "new"]


def test_if_the_change_fails_the_previous_secret_is_restored(mlflow: FakeMlflow) -> None:
    mlflow.accepted.add("new")
    real = mlflow.test_webhook
    tests: list[str] = []

    def fails_the_third_time(webhook_id: str, event: str) -> WebhookTest:
        tests.append(webhook_id)
        return real(webhook_id, event) if len(tests) < 3 else failed_test("gone")

    mlflow.test_webhook = fails_the_third_time  # type: ignore[method-assign]
    assert not rotated(mlflow, settings("new", "old"))[0]
    assert mlflow.secrets["0"] == ["old", "new", "old"]


def test_a_leftover_trial_is_deleted(mlflow: FakeMlflow) -> None:
    mlflow.create_webhook("mlflow-bridge-rotation", URL, EVENTS, "x", active=False)
    mlflow.accepted.add("new")
    assert find(mlflow, None).id == "0"
    assert rotated(mlflow, settings("new", "old"))[0]


def test_no_secret_is_ever_printed(mlflow: FakeMlflow) -> None:
    mlflow.accepted = {"sentinel-new", "sentinel-old"}
    mlflow.secrets["0"] = ["sentinel-old"]
    for secrets in (["sentinel-old"], ["sentinel-new", "sentinel-old"], ["sentinel-other"]):
        assert "sentinel" not in rotated(mlflow, settings(*secrets))[1]


def test_create_needs_a_secret_and_explains_how_to_generate_one() -> None:
    with pytest.raises(WebhookRefused) as caught:
        create(FakeMlflow(), settings(None), URL, "hook")
    assert "openssl rand -base64 32" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    ["", "bridge", "ftp://bridge/webhook", "https://", "https://u:p@bridge/webhook", "https://b/x#y", "http://[::1"],
)
def test_create_refuses_what_is_not_an_address(url: str) -> None:
    with pytest.raises(WebhookRefused):
        create(FakeMlflow(), settings(), url, "hook")


def test_create_adds_the_path_where_there_is_none() -> None:
    mlflow = FakeMlflow("old")
    created, is_new = create(mlflow, settings(), "https://bridge.example.com/", "hook")
    assert (created.url, is_new) == (URL, True)
    updated, is_new = create(mlflow, settings(), URL, "another")
    assert (updated.id, is_new) == (created.id, False)


def test_create_explains_an_address_that_mlflow_refuses() -> None:
    mlflow = FakeMlflow()
    mlflow.refuses = "Webhook URL must not resolve to a non-public IP address."
    with pytest.raises(WebhookRefused) as caught:
        create(mlflow, settings(), URL, "hook")
    assert "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS" in caught.value.hint


def test_create_passes_on_any_other_error() -> None:
    mlflow = FakeMlflow()
    mlflow.refuses = "the database is locked"
    with pytest.raises(MlflowError) as caught:
        create(mlflow, settings(), URL, "hook")
    assert caught.value.mlflow_message == "the database is locked"


def test_a_webhook_is_found_by_id_name_or_address_or_because_it_is_the_only_one(mlflow: FakeMlflow) -> None:
    for selected in ("0", "hook", URL, None):
        assert find(mlflow, selected).id == "0"
    with pytest.raises(WebhookRefused, match="webhook list"):
        find(mlflow, "other")
    mlflow.create_webhook("second", "https://b.example.com/webhook", EVENTS, "x")
    with pytest.raises(WebhookRefused, match="2 webhooks match"):
        find(mlflow, None)
