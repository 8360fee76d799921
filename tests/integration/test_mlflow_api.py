"""`bridge.mlflow.client` against a real MLflow server."""

import time

import httpx2
import pytest

from bridge.mlflow.client import (
    MlflowApi,
    MlflowError,
    MlflowNotFound,
    MlflowRefused,
    MlflowUnreachable,
    RecentVersion,
    RegisteredModel,
)
from tests.integration.conftest import Create
from tests.loopback.servers import MlflowServer, free_port


def test_a_version_is_read_with_its_aliases_and_tags(
    mlflow_api: MlflowApi, create: Create, registered: str, model_name: str
) -> None:
    create("registered-models/alias", name=model_name, alias="Champion", version="1")
    mlflow_api.set_version_tag(model_name, "1", "image.uri", "ghcr.io/ü@sha256:1")

    version = mlflow_api.version(model_name, "1")

    assert (version.name, version.version, version.source) == (model_name, "1", f"models:/{registered}")
    assert version.tags == {"image.uri": "ghcr.io/ü@sha256:1"}
    assert version.aliases == ("Champion",)
    assert version.run_id is None
    assert mlflow_api.version_by_alias(model_name, "Champion").version == "1"
    assert mlflow_api.aliases(model_name) == {"Champion": "1"}


def test_a_tag_is_replaced_by_its_next_value(mlflow_api: MlflowApi, registered: str, model_name: str) -> None:
    mlflow_api.set_version_tag(model_name, "1", "image.status", "building")
    mlflow_api.set_version_tag(model_name, "1", "image.status", "pushed")
    assert mlflow_api.version(model_name, "1").tags == {"image.status": "pushed"}


def test_the_artifacts_of_a_logged_model_lie_at_its_own_address(
    mlflow_api: MlflowApi, registered: str, model_name: str
) -> None:
    assert mlflow_api.artifact_uri(model_name, "1") == f"mlflow-artifacts:/0/models/{registered}/artifacts"


def test_a_source_that_is_no_logged_model_is_the_address_itself(mlflow_api: MlflowApi, create: Create) -> None:
    run = create("runs/create", experiment_id="0")["run"]["info"]
    name = f"old {run['run_id']}"
    source = f"{run['artifact_uri']}/model"
    create("registered-models/create", name=name)
    create("model-versions/create", name=name, source=source, run_id=run["run_id"])
    assert mlflow_api.artifact_uri(name, "1") == source
    assert mlflow_api.version(name, "1").run_id == run["run_id"]


def test_what_mlflow_does_not_have_is_not_found(mlflow_api: MlflowApi, registered: str, model_name: str) -> None:
    for ask in (
        lambda: mlflow_api.version(model_name, "2"),
        lambda: mlflow_api.version("nobody's", "1"),
        lambda: mlflow_api.version_by_alias(model_name, "nope"),
        lambda: mlflow_api.aliases("nobody's"),
        lambda: mlflow_api.artifact_uri(model_name, "2"),
        lambda: mlflow_api.set_version_tag(model_name, "2", "key", "value"),
    ):
        with pytest.raises(MlflowNotFound, match=r"has no .*: check the name"):
            ask()


def test_what_mlflow_will_not_take_is_an_error_with_its_reason(mlflow_api: MlflowApi) -> None:
    with pytest.raises(MlflowError, match="'version' must be an integer"):
        mlflow_api.version("iris", "latest")


def test_a_webhook_is_registered_and_its_test_tells_what_was_answered(
    mlflow_server: MlflowServer, mlflow_api: MlflowApi
) -> None:
    url = f"{mlflow_server.url}/health"
    webhook = mlflow_api.create_webhook("hook", url, ["model_version.created"], "s" * 16)
    tested = mlflow_api.test_webhook(webhook, "model_version.created")
    assert (tested.success, tested.status) == (False, 405)
    assert "Method Not Allowed" in str(tested.body)


def test_a_test_that_reaches_nobody_tells_why(mlflow_api: MlflowApi) -> None:
    url = f"http://127.0.0.1:{free_port()}/webhook"
    webhook = mlflow_api.create_webhook("nobody-there", url, ["model_version.created"], "s" * 16)
    tested = mlflow_api.test_webhook(webhook, "model_version.created")
    assert (tested.success, tested.status) == (False, None)
    assert "Failed to test webhook" in str(tested.error)


def test_a_host_name_that_mlflow_refuses_is_named_with_the_mend(mlflow_server: MlflowServer) -> None:
    port = httpx2.URL(mlflow_server.url).port
    with MlflowApi(f"http://127.0.0.2:{port}") as api, pytest.raises(MlflowUnreachable):
        api.version("iris", "1")
    with MlflowApi(mlflow_server.url) as api:
        api._client.headers["Host"] = "evil.example"
        with pytest.raises(MlflowRefused, match="--allowed-hosts"):
            api.version("iris", "1")


def versions(api: MlflowApi, since: int) -> list[RecentVersion]:
    return [version for version in api.recent_versions(since) if isinstance(version, RecentVersion)]


def test_versions_are_listed_newest_first_down_to_a_moment_and_prompts_are_not(
    mlflow_api: MlflowApi, create: Create, model_name: str, registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.mlflow.client.MLFLOW_PAGE", 2)
    source = f"models:/{registered}"
    for _ in range(4):
        create("model-versions/create", name=model_name, source=source, model_id=registered)
    prompt = f"prompt {model_name}"
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "hello"}]
    create("registered-models/create", name=prompt, tags=tags)
    create("model-versions/create", name=prompt, source="dummy-source", tags=tags)
    listed = [version for version in versions(mlflow_api, 0) if version.name in (model_name, prompt)]
    assert [version.version for version in listed] == ["5", "4", "3", "2", "1"]
    assert {version.source for version in listed} == {source}
    assert [version.created for version in listed] == sorted((each.created for each in listed), reverse=True)
    assert abs(listed[0].created / 1000 - time.time()) < 60
    later = versions(mlflow_api, listed[1].created)
    assert [version.version for version in later if version.name == model_name] == ["5", "4"]


def test_all_models_are_listed_with_their_aliases_over_pages(
    mlflow_api: MlflowApi, create: Create, model_name: str, registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.mlflow.client.MLFLOW_PAGE", 2)
    others = [f"{model_name} {number}" for number in range(4)]
    for other in others:
        create("registered-models/create", name=other)
    create("registered-models/alias", name=model_name, alias="champion", version="1")
    create("registered-models/alias", name=model_name, alias="-x", version="1")
    models = list(mlflow_api.registered_models())
    listed = {model.name: model.aliases for model in models if isinstance(model, RegisteredModel)}
    assert listed[model_name] == {"champion": "1", "-x": "1"}
    assert [listed[other] for other in others] == [{}] * 4
