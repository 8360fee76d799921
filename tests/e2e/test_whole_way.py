"""From a model version in MLflow to its image in the registry, on real parts. Each build takes a minute or so."""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import mlflow
import pytest

from bridge.mlflow.client import ModelVersion
from tests.e2e.workflow_stage import annotations, ended_in, has_built, steps
from tests.loopback.github.runs import Run
from tests.loopback.registry import Registry
from tests.loopback.stage import Stage, serving

_RUN = 1200.0
pytestmark = pytest.mark.filterwarnings("default")  # MLflow warns of its own dependencies


def doubles() -> Any:
    """Make a model by a class that is pickled by value, for the container knows nothing of this module."""

    class Doubles(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not followed
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # hints mean inputs
            return [int(value) * 2 for value in model_input["x"]]

    return Doubles()


def fails_to_load() -> Any:
    class FailsToLoad(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not followed
        def load_context(self, context: Any) -> None:
            raise RuntimeError("weights are missing on purpose")

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # hints mean inputs
            return []

    return FailsToLoad()


@pytest.fixture
def registry(parts: Stage) -> Registry:
    assert parts.registry is not None
    return parts.registry


@pytest.fixture
def client(parts: Stage) -> Any:
    mlflow.set_tracking_uri(parts.mlflow.url)
    return mlflow.MlflowClient()


def log(model: Any, name: str, *, example: bool = True) -> str:
    """Log and register a pyfunc model that needs nothing but MLflow; give its version."""
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="model", python_model=model, pip_requirements=["cloudpickle"], registered_model_name=name,
            input_example=_example() if example else None,
        )  # fmt: skip
    return str(logged.registered_model_version)


def _example() -> Any:
    import pandas

    return pandas.DataFrame({"x": [1, 2]})


@contextmanager
def new_runs(parts: Stage, count: int) -> Iterator[list[Run]]:
    """Fill the list with the `count` runs that what is done inside causes, completed, oldest first."""
    before = len(parts.github.runs)
    found: list[Run] = []
    yield found
    caused = reversed(parts.github.wait_for_runs(before + count)[:count])
    found.extend(parts.github.wait(each) for each in caused)


def version(parts: Stage, name: str, number: str) -> ModelVersion:
    with parts.api() as api:
        return api.version(name, number)


def repository(parts: Stage, name: str, number: str = "1") -> str:
    return version(parts, name, number).tags["image.uri"].partition("@")[0]


def dispatch(parts: Stage, name: str, number: str, alias: str | None = None) -> None:
    """Send GitHub what the bridge would send, at a moment of the test's choice."""
    parts.github.repository_dispatch(payload(name, number, alias))


def by_hand(parts: Stage, **inputs: Any) -> None:
    workflow = next(each for each in parts.github.workflows if each.path.endswith("on-mlflow-event.yml"))
    parts.github.workflow_dispatch(workflow, {"ref": "main", "inputs": inputs})


def payload(name: str, number: str, alias: str | None = None) -> dict[str, Any]:
    event = "model_version_alias.created" if alias else "model_version.created"
    model = {"name": name, "version": number, "alias": alias, "source": None, "run_id": None}
    said = {"schema": 1, "dispatch_id": uuid.uuid4().hex, "delivery_id": uuid.uuid4().hex, "event": event}
    return {"event_type": "mlflow-model-version", "client_payload": {**said, "model": model, "inputs": {}}}


def test_a_new_version_with_an_alias_gets_one_build_and_two_tags_and_answers(
    parts: Stage, registry: Registry, tmp_path: Path
) -> None:
    with new_runs(parts, 2) as runs:
        registered = parts.register("Iris Clf (EU)", "champion")
    assert [run.conclusion for run in runs] == ["success", "success"], runs[0].log[-3000:]
    assert [has_built(run) for run in runs] == [True, False]
    tags = version(parts, "Iris Clf (EU)", registered["version"]).tags
    name, digest = tags["image.uri"].split("@")
    assert name.startswith(f"{registry.host}/demo/iris-clf-eu-")
    assert registry.tags(name) == {"1": digest, "champion": digest}
    assert tags["image.status"] == "pushed"
    assert tags["image.run_url"].endswith(f"/actions/runs/{runs[0].id}")
    with serving(registry, tags["image.uri"], tmp_path) as url:
        rows = {"columns": _IRIS, "data": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}
        answer = httpx2.post(f"{url}/invocations", json={"dataframe_split": rows}, timeout=60.0)
    assert answer.json() == {"predictions": [0, 2]}


def test_a_run_of_a_version_that_is_there_says_so_in_its_summary(parts: Stage) -> None:
    with new_runs(parts, 1) as runs:
        by_hand(parts, model="Iris Clf (EU)", alias="champion")
    assert not has_built(runs[0])
    assert runs[0].title == "manual: Iris Clf (EU) champion"
    assert "| Seconds | nothing was built |" in runs[0].summary
    assert version(parts, "Iris Clf (EU)", "1").tags["image.uri"].split("@")[1] in runs[0].summary


def test_the_alias_event_may_come_first(parts: Stage, registry: Registry, client: Any) -> None:
    with _deaf(parts, client):
        number = log(doubles(), "iris-clf-eu")
        client.set_registered_model_alias("iris-clf-eu", "champion", number)
    with new_runs(parts, 2) as runs:
        dispatch(parts, "iris-clf-eu", number, "champion")
        dispatch(parts, "iris-clf-eu", number)
    assert [has_built(run) for run in runs] == [True, False]
    name = repository(parts, "iris-clf-eu")
    assert name == f"{registry.host}/demo/iris-clf-eu"
    assert set(registry.tags(name)) == {"1", "champion"}
    assert len(set(registry.tags(name).values())) == 1


def test_aliases_that_can_be_no_tags_leave_the_run_green_and_say_so(
    parts: Stage, registry: Registry, client: Any
) -> None:
    with _deaf(parts, client):
        number = log(doubles(), "模型")
        for alias in ("champion", "7", "-x"):
            client.set_registered_model_alias("模型", alias, number)
    with new_runs(parts, 1) as runs:
        dispatch(parts, "模型", number)
    assert runs[0].conclusion == "success", runs[0].failure
    name = repository(parts, "模型")
    assert name.startswith(f"{registry.host}/demo/model-")
    assert set(registry.tags(name)) == {"1", "champion"}
    (notice,) = annotations(runs[0], "notice")
    assert [line.split("'")[1] for line in notice.splitlines()] == ["-x", "7"]


def test_a_moved_alias_moves_its_tag_and_builds_nothing(parts: Stage, registry: Registry, client: Any) -> None:
    with new_runs(parts, 1):
        log(doubles(), "iris-clf-eu")
    with new_runs(parts, 1) as runs:
        client.set_registered_model_alias("iris-clf-eu", "champion", "2")
    assert not has_built(runs[0])
    tags = registry.tags(repository(parts, "iris-clf-eu"))
    assert tags["champion"] == tags["2"] != tags["1"]


def test_a_model_that_fails_to_load_is_never_pushed(parts: Stage, registry: Registry) -> None:
    with new_runs(parts, 1) as runs:
        log(fails_to_load(), "broken", example=False)
    assert runs[0].conclusion == "failure"
    assert steps(runs[0])["Smoke-test the image"] == "failure"
    assert steps(runs[0])["Push the image"] == "skipped"
    assert "RuntimeError: weights are missing on purpose" in runs[0].log
    (message,) = annotations(runs[0], "error")
    assert message.startswith(
        f"{registry.host}/demo/broken:1 did not answer /ping (the container stopped with exit code "
    )
    assert registry.tags(f"{registry.host}/demo/broken") == {}
    assert version(parts, "broken", "1").tags["image.status"] == "failed"


def test_a_line_feed_in_the_python_version_is_refused_before_anything_is_built(
    parts: Stage, client: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    mlflow.pyfunc.save_model(str(folder), python_model=doubles(), pip_requirements=["cloudpickle"])
    (folder / "python_env.yaml").write_text(json.dumps({"python": "3.11.7\nRUN touch /owned"}))
    with new_runs(parts, 1) as runs:
        _register_folder(client, folder, "evil")
    assert runs[0].conclusion == "failure"
    assert ended_in(runs[0]) == "Resolve the version"
    (message,) = annotations(runs[0], "error")
    assert "'3.11.7\\nRUN touch /owned'" in message
    assert version(parts, "evil", "1").tags["image.status"] == "failed"


def test_artifacts_outside_mlflows_proxy_are_refused(parts: Stage, client: Any) -> None:
    client.create_registered_model("direct")
    with new_runs(parts, 1) as runs:
        client.create_model_version("direct", "s3://bucket/model")
    (message,) = annotations(runs[0], "error")
    assert "s3:" in message


def test_a_model_made_again_under_its_name_is_refused_until_somebody_forces_it(
    parts: Stage, registry: Registry, client: Any
) -> None:
    name = repository(parts, "iris-clf-eu")
    before, first = registry.tags(name), version(parts, "iris-clf-eu", "1").source
    client.delete_registered_model("iris-clf-eu")
    with new_runs(parts, 1) as runs:
        log(doubles(), "iris-clf-eu")
    second = version(parts, "iris-clf-eu", "1").source
    (message,) = annotations(runs[0], "error")
    assert f"{name}:1 was built from {first}, but the version's source in MLflow is {second}" in message
    assert registry.tags(name) == before
    with new_runs(parts, 1) as forced:
        by_hand(parts, model="iris-clf-eu", version="1", force=True)
    assert has_built(forced[0])
    assert version(parts, "iris-clf-eu", "1").tags["image.uri"] == f"{name}@{registry.tags(name)['1']}"
    assert registry.tags(name)["1"] != before["1"]


def test_an_image_that_is_not_ours_is_never_overwritten(parts: Stage, registry: Registry, client: Any) -> None:
    name = f"{registry.host}/demo/taken"
    source = f"docker://{repository(parts, '模型')}:1"
    login = f"{registry.user}:{registry.password}"
    copy = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
    subprocess.run([*copy, "--src-creds", login, "--dest-creds", login, source, f"docker://{name}:1"], check=True)
    before = registry.tags(name)
    with new_runs(parts, 1) as runs:
        log(doubles(), "taken")
    assert runs[0].conclusion == "failure"
    assert annotations(runs[0], "error")[0].startswith(f"{name}:1 exists without this model's labels")
    with new_runs(parts, 1) as forced:
        by_hand(parts, model="taken", version="1", force=True)
    assert forced[0].conclusion == "failure"
    assert registry.tags(name) == before


def test_no_secret_shows_in_any_log(parts: Stage, registry: Registry) -> None:
    text = "".join(run.log + run.summary for run in parts.github.runs) + parts.bridge.log.read_text()
    assert registry.password not in text


_IRIS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


@contextmanager
def _deaf(parts: Stage, client: Any) -> Iterator[None]:
    """Let MLflow tell the bridge nothing meanwhile."""
    for webhook in parts.webhooks:
        client.update_webhook(webhook, status="DISABLED")
    time.sleep(_WEBHOOK_CACHE)
    yield
    time.sleep(_WEBHOOK_CACHE)
    for webhook in parts.webhooks:
        client.update_webhook(webhook, status="ACTIVE")
    time.sleep(_WEBHOOK_CACHE)


_WEBHOOK_CACHE = 2.0
"""Seconds; the stage's MLflow reads its webhooks anew each second."""


def _register_folder(client: Any, folder: Path, name: str) -> None:
    client.create_registered_model(name)
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "model")
    client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
