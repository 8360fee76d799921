"""What no run under act can show: pins, inputs, permissions, concurrency, and where secrets go."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = json.loads((Path(__file__).parent / "actions.json").read_text())
"""Made out of the actions' own action.yml at the pinned commits."""
MLFLOW = re.compile(r"secrets\.MLFLOW_|vars\.MLFLOW_")
REGISTRY = re.compile(r"secrets\.DOCKER_REGISTRY_PASSWORD|github\.token")


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506  makes strings alone
    return document


def steps(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in read(path)["jobs"].items():
        for step in job.get("steps", []):
            yield name, step


@pytest.fixture
def image() -> dict[str, Any]:
    return read(ROOT / ".github/workflows/model-image.yml")


@pytest.fixture
def caller() -> dict[str, Any]:
    return read(ROOT / ".github/workflows/on-mlflow-event.yml")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_the_commit_of_the_release_that_its_comment_names(path: Path) -> None:
    used = re.findall(r"uses: ([^./\s][^@\s]*)@(\S+)(?: # (\S+))?", path.read_text())
    assert used == [(name, ACTIONS[name]["sha"], ACTIONS[name]["tag"]) for name, _, _ in used]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_input_given_to_an_action_is_one_that_it_has(path: Path) -> None:
    for _, step in steps(path):
        if "uses" in step:
            unknown = set(step.get("with", {})) - set(ACTIONS[step["uses"].split("@")[0]]["inputs"])
            assert not unknown, step["name"]


def test_the_runners_uv_is_the_one_that_is_locked_here(image: dict[str, Any]) -> None:
    locked = re.search(r"^uv==(\S+)", (ROOT / "requirements/uv.txt").read_text(), re.MULTILINE)
    uses = [step["with"]["version"] for job in image["jobs"].values() for step in job["steps"] if _is_uv(step)]
    assert locked
    assert uses == [locked.group(1)] * 3


def _is_uv(step: dict[str, Any]) -> bool:
    return "astral-sh/setup-uv" in step.get("uses", "")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_stand_in_takes_no_input_that_the_real_action_lacks(action: str) -> None:
    stand_in = read(ROOT / "tests/e2e/actions" / action / "action.yml")
    assert set(stand_in["inputs"]) <= set(ACTIONS[action]["inputs"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_script_holds_an_expression(path: Path) -> None:
    assert [step["name"] for _, step in steps(path) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_nothing_but_what_its_jobs_say(path: Path) -> None:
    document = read(path)
    assert document["permissions"] == {}
    assert all("permissions" in job for job in document["jobs"].values())


def test_the_caller_grants_what_the_called_jobs_need(caller: dict[str, Any], image: dict[str, Any]) -> None:
    levels = ["none", "read", "write"]
    granted = caller["jobs"]["image"]["permissions"]
    for job in image["jobs"].values():
        for scope, level in job["permissions"].items():
            assert levels.index(granted.get(scope, "none")) >= levels.index(level), scope


def test_the_caller_passes_just_the_secrets_and_inputs_that_are_declared(
    caller: dict[str, Any], image: dict[str, Any]
) -> None:
    declared, job = image["on"]["workflow_call"], caller["jobs"]["image"]
    assert job["secrets"] == {name: f"${{{{ secrets.{name} }}}}" for name in declared["secrets"]}
    assert set(job["with"]) <= set(declared["inputs"])


def test_secrets_reach_declared_steps_alone(image: dict[str, Any]) -> None:
    text = (ROOT / ".github/workflows/model-image.yml").read_text()
    assert set(re.findall(r"secrets\.(\w+)", text)) == set(image["on"]["workflow_call"]["secrets"])


def test_the_steps_that_run_model_code_get_nothing_of_mlflow_or_the_registry(image: dict[str, Any]) -> None:
    build = {step["name"]: json.dumps(step) for step in image["jobs"]["build"]["steps"]}
    for name in ("Build the image", "Smoke-test the image"):
        assert "secrets." not in build[name], name
        assert not MLFLOW.search(build[name]), name
        assert not REGISTRY.search(build[name]), name
    assert not MLFLOW.search(json.dumps([image["env"], image["jobs"]["build"]["env"]]))


def test_the_build_signs_in_only_after_the_smoke_test(image: dict[str, Any]) -> None:
    names = [step["name"] for step in image["jobs"]["build"]["steps"]]
    signs_in = [step["name"] for step in image["jobs"]["build"]["steps"] if "login-action" in step.get("uses", "")]
    assert signs_in == ["Sign in to the registry, to push"]
    assert names.index("Smoke-test the image") < names.index(signs_in[0]) < names.index("Push the image")


def test_the_runs_own_token_goes_to_no_registry_but_ghcr(image: dict[str, Any]) -> None:
    assert " ".join(image["env"]["SIGN_IN"].split()) == (
        "${{ (github.server_url == 'https://github.com' && (vars.DOCKER_REGISTRY || 'ghcr.io') == 'ghcr.io')"
        " || secrets.DOCKER_REGISTRY_PASSWORD != '' }}"
    )
    for job in image["jobs"].values():
        for step in job["steps"]:
            if "login-action" in step.get("uses", ""):
                assert "env.SIGN_IN == 'true'" in step["if"], step["name"]


def test_one_build_of_a_version_and_one_promotion_of_a_model_run_at_a_time(image: dict[str, Any]) -> None:
    build, promote = image["jobs"]["build"]["concurrency"], image["jobs"]["promote"]["concurrency"]
    model = "${{ needs.resolve.outputs.group || github.run_id }}"
    assert build["group"] == f"mlflow-build-{model}-${{{{ needs.resolve.outputs.version }}}}"
    assert promote["group"] == f"mlflow-promote-{model}"
    assert build["cancel-in-progress"] == promote["cancel-in-progress"] == "false"


def test_the_runs_name_begins_with_the_dispatch_id(caller: dict[str, Any]) -> None:
    assert caller["run-name"].startswith("${{ github.event.client_payload.dispatch_id || ")


def test_every_job_runs_where_the_input_says(image: dict[str, Any]) -> None:
    wanted = "${{ startsWith(inputs.runs-on, '[') && fromJSON(inputs.runs-on) || inputs.runs-on }}"
    assert {job["runs-on"] for job in image["jobs"].values()} == {wanted}
