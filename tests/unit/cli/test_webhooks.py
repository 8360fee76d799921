"""Rotation and creation, step by step, with an MLflow and a bridge that are played."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.cli import webhooks
from bridge.cli.webhooks import WebhookRefused
from bridge.mlflow.client import MlflowApi, MlflowError, Webhook, WebhookTest
from bridge.settings import Settings

URL = "https://bridge.example.com/webhook"
EVENTS = ("model_version.created", "model_version_alias.created")


def failed(why: str) -> WebhookTest:
    return WebhookTest.model_validate({"error_message": why})


class Played(MlflowApi):
    """MLflow's webhooks in memory, with a bridge behind that takes the secrets in `taken`."""

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.known: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, list[str]] = {}
        self.down = False
        self.refuses = ""

    def webhooks(self) -> Iterator[Webhook]:
        yield from [Webhook.model_validate(each) for each in self.known.values()]

    def create_webhook(self, name: str, url: str, events: Iterable[str], secret: str, *, active: bool = True) -> str:
        if self.refuses:
            raise MlflowError(self.refuses)
        made = str(len(self.secrets))
        pairs = [dict(zip(("entity", "action"), each.upper().split("."), strict=True)) for each in events]
        status = "ACTIVE" if active else "DISABLED"
        self.known[made] = {"webhook_id": made, "name": name, "url": url, "events": pairs, "status": status}
        self.secrets[made] = [secret]
        return made

    def update_webhook(
        self, webhook_id: str, *, secret: str | None = None, events: Iterable[str] = (), active: bool = False
    ) -> None:
        if secret:
            self.secrets[webhook_id].append(secret)

    def delete_webhook(self, webhook_id: str) -> None:
        del self.known[webhook_id]

    def test_webhook(self, webhook_id: str, event: str) -> WebhookTest:
        if self.down:
            return failed("Failed to test webhook: ConnectionError()")
        status, word = (200, "test") if self.secrets[webhook_id][-1] in self.taken else (401, "refused")
        return WebhookTest.model_validate({"response_status": status, "response_body": json.dumps({"status": word})})


def settings(today: str | None = "old", previous: str | None = None) -> Settings:
    return Settings(
        github_repository="o/n",
        github_token=SecretStr("t"),
        mlflow_tracking_uri="https://mlflow.example.com",
        mlflow_webhook_secret=SecretStr(today) if today else None,
        mlflow_webhook_secret_previous=SecretStr(previous) if previous else None,
    )


def rotate(mlflow: Played, with_settings: Settings) -> tuple[bool, str]:
    said: list[str] = []
    well = webhooks.rotate(mlflow, with_settings, next(mlflow.webhooks()), said.append)
    assert [each.name for each in mlflow.webhooks()] == ["hook"], "the trial is gone"
    return well, "\n".join(said)


@pytest.fixture
def mlflow() -> Played:
    played = Played("old")
    played.create_webhook("hook", URL, EVENTS, "old")
    return played


def test_with_one_secret_the_first_step_is_told_and_nothing_changes(mlflow: Played) -> None:
    well, said = rotate(mlflow, settings())
    assert well
    assert said.startswith("step 1 of 3, yours")
    assert said.endswith("nothing was changed")
    assert mlflow.secrets["0"] == ["old"]


def test_a_bridge_that_was_not_restarted_stops_it(mlflow: Played) -> None:
    well, said = rotate(mlflow, settings("new", "old"))
    assert not well
    assert said.startswith("nothing was changed: the running bridge doesn't take today's MLFLOW_WEBHOOK_SECRET")
    assert mlflow.secrets["0"] == ["old"]


def test_with_both_secrets_mlflow_is_changed_and_again_does_no_harm(mlflow: Played) -> None:
    mlflow.taken.add("new")
    for _ in range(2):
        well, said = rotate(mlflow, settings("new", "old"))
        assert well
        assert "step 2 of 3, done" in said
        assert "step 3 of 3, yours: in 6 minutes" in said
    assert mlflow.secrets["0"] == ["old", "new", "new"]


def test_a_bridge_that_cannot_be_reached_stops_it(mlflow: Played) -> None:
    mlflow.down = True
    well, said = rotate(mlflow, settings("new", "old"))
    assert not well
    assert said.startswith("nothing was changed: MLflow can't reach the bridge")


def test_a_webhook_whose_secret_nobody_knows_gets_todays(mlflow: Played) -> None:
    mlflow.taken = {"new"}
    well, said = rotate(mlflow, settings("new"))
    assert well
    assert said.startswith("MLflow's deliveries were refused until now")
    assert mlflow.secrets["0"] == ["old", "new"]


def test_where_the_change_itself_fails_the_previous_secret_is_set_again(mlflow: Played) -> None:
    mlflow.taken.add("new")
    real = mlflow.test_webhook
    tests: list[str] = []

    def fails_at_last(webhook_id: str, event: str) -> WebhookTest:
        tests.append(webhook_id)
        return real(webhook_id, event) if len(tests) < 3 else failed("gone")

    mlflow.test_webhook = fails_at_last  # type: ignore[method-assign]
    well, said = rotate(mlflow, settings("new", "old"))
    assert not well
    assert "MLflow has the previous secret again" in said
    assert mlflow.secrets["0"] == ["old", "new", "old"]


def test_a_trial_that_was_left_behind_is_taken_away(mlflow: Played) -> None:
    mlflow.create_webhook("mlflow-bridge-rotation", URL, EVENTS, "x", active=False)
    mlflow.taken.add("new")
    assert webhooks.find(mlflow, None).id == "0"
    assert rotate(mlflow, settings("new", "old"))[0]


def test_no_secret_is_ever_said(mlflow: Played) -> None:
    mlflow.taken = {"sentinel-new", "sentinel-old"}
    mlflow.secrets["0"] = ["sentinel-old"]
    for given in (settings("sentinel-old"), settings("sentinel-new", "sentinel-old"), settings("sentinel-other")):
        assert "sentinel" not in rotate(mlflow, given)[1]


def test_create_needs_a_secret_and_says_how_to_make_one() -> None:
    with pytest.raises(WebhookRefused, match="openssl rand -base64 32"):
        webhooks.create(Played(), settings(None), URL, "hook")


@pytest.mark.parametrize(
    "url",
    ["", "bridge", "ftp://bridge/webhook", "https://", "https://u:p@bridge/webhook", "https://b/x#y", "http://[::1"],
)
def test_create_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(WebhookRefused, match="give one such as"):
        webhooks.create(Played(), settings(), url, "hook")


def test_create_adds_the_path_where_there_is_none() -> None:
    played = Played("old")
    made, is_new = webhooks.create(played, settings(), "https://bridge.example.com/", "hook")
    assert (made.url, is_new) == (URL, True)
    again, is_new = webhooks.create(played, settings(), URL, "another")
    assert (again.id, is_new) == (made.id, False)


def test_create_passes_on_what_it_has_no_mend_for() -> None:
    played = Played()
    played.refuses = "MLflow refused the request (400): mend what it names"
    with pytest.raises(MlflowError, match="mend what it names"):
        webhooks.create(played, settings(), URL, "hook")


def test_one_webhook_is_found_by_any_of_its_names_or_by_itself(mlflow: Played) -> None:
    for wanted in ("0", "hook", URL, None):
        assert webhooks.find(mlflow, wanted).id == "0"
    with pytest.raises(WebhookRefused, match="no such webhook"):
        webhooks.find(mlflow, "other")
    mlflow.create_webhook("second", "https://b.example.com/webhook", EVENTS, "x")
    with pytest.raises(WebhookRefused, match="2 webhooks lead to a bridge"):
        webhooks.find(mlflow, None)
