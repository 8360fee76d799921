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
CALLED = ROOT / ".github/workflows/model-image.yml"
STAND_INS = sorted((ROOT / "tests/e2e/actions").glob("*/*/action.yml"))
ACTIONS = json.loads((Path(__file__).parent / "actions.json").read_text())
"""Made out of the actions' own action.yml at the pinned commits."""
SIGN_IN = "./.bridge/.github/actions/sign-in"
MLFLOW = re.compile(r"secrets\.MLFLOW_|vars\.MLFLOW_")
PIP = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "CA_CERTIFICATES"}
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
        if "uses" in step and not step["uses"].startswith("./"):
            unknown = set(step.get("with", {})) - set(ACTIONS[step["uses"].split("@")[0]]["inputs"])
            assert not unknown, step["name"]


def test_the_runners_uv_is_the_one_that_is_locked_here(image: dict[str, Any]) -> None:
    locked = re.search(r"^uv==(\S+)", (ROOT / "requirements/uv.txt").read_text(), re.MULTILINE)
    uses = [step["with"]["version"] for job in image["jobs"].values() for step in job["steps"] if _is_uv(step)]
    assert locked
    assert uses == [locked.group(1)] * 3


def _is_uv(step: dict[str, Any]) -> bool:
    return "astral-sh/setup-uv" in step.get("uses", "")


@pytest.mark.parametrize("path", STAND_INS, ids=lambda path: path.parent.name)
def test_a_stand_in_takes_no_input_that_the_real_action_lacks(path: Path) -> None:
    action = f"{path.parent.parent.name}/{path.parent.name}"
    assert set(read(path)["inputs"]) <= set(ACTIONS[action]["inputs"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_script_holds_an_expression(path: Path) -> None:
    assert [step["name"] for _, step in steps(path) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("path", [path for path in WORKFLOWS if path != CALLED], ids=lambda path: path.name)
def test_a_workflow_may_do_nothing_but_what_its_jobs_say(path: Path) -> None:
    document = read(path)
    assert document["permissions"] == {}
    assert all("permissions" in job for job in document["jobs"].values())


def test_the_called_jobs_ask_for_nothing_so_that_a_caller_grants_just_what_its_registry_needs(
    caller: dict[str, Any], image: dict[str, Any]
) -> None:
    assert set(image["on"]) == {"workflow_call"}
    assert not [job for job in [image, *image["jobs"].values()] if "permissions" in job]
    assert caller["jobs"]["image"]["permissions"] == {"contents": "read", "packages": "write"}


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
        assert not MLFLOW.search(build[name]), name
        assert not REGISTRY.search(build[name]), name
    assert not MLFLOW.search(json.dumps([image["env"], image["jobs"]["build"]["env"]]))
    assert "secrets." not in build["Smoke-test the image"]
    given = next(step["env"] for step in image["jobs"]["build"]["steps"] if step["name"] == "Build the image")
    assert given == {
        name: f"${{{{ needs.resolve.outputs.layered == 'true' && secrets.{name} || '' }}}}" for name in PIP
    }


def test_of_the_secrets_of_a_package_index_all_steps_but_the_build_know_only_whether_they_are_set(
    image: dict[str, Any],
) -> None:
    told = {name for name, value in image["env"].items() if "secrets." in value}
    assert told == {"HAS_PACKAGE_INDEX", "HAS_CA_CERTIFICATES"}
    assert all(re.fullmatch(r"\$\{\{ (secrets\.\w+ != ''( \|\| )?)+ \}\}", image["env"][name]) for name in told)
    steps = [step for job in image["jobs"].values() for step in job["steps"]]
    knowing = {step["name"] for step in steps if set(re.findall(r"secrets\.(\w+)", json.dumps(step))) & PIP}
    assert knowing == {"Build the image"}


def test_a_sign_in_to_read_lies_in_a_folder_of_its_own_which_is_gone_before_the_build(image: dict[str, Any]) -> None:
    build = {step["name"]: step for step in image["jobs"]["build"]["steps"]}
    reads = build["Sign in to read"]
    assert reads["env"] == {"DOCKER_CONFIG": "${{ runner.temp }}/mlflow-bridge-read"}
    assert build["Download the model"]["env"]["DOCKER_CONFIG"] == reads["env"]["DOCKER_CONFIG"]
    gone = build["Sign out"]
    assert "if" not in reads
    assert gone["if"] == "always()"
    assert 'rm -rf "$RUNNER_TEMP/mlflow-bridge-read"' in gone["run"]
    names = list(build)
    assert names.index("Download the model") + 1 == names.index("Sign out") == names.index("Build the image") - 1


def test_the_build_signs_in_to_write_only_after_the_smoke_test(image: dict[str, Any]) -> None:
    names = [step["name"] for step in image["jobs"]["build"]["steps"]]
    signs_in = [step["name"] for step in image["jobs"]["build"]["steps"] if step.get("uses") == SIGN_IN]
    assert signs_in == ["Sign in to read", "Sign in to push"]
    assert names.index("Smoke-test the image") < names.index(signs_in[1]) < names.index("Push the image")


def test_every_job_signs_in_by_the_one_action_with_the_same_secrets(image: dict[str, Any]) -> None:
    given = [step["with"] for job in image["jobs"].values() for step in job["steps"] if step.get("uses") == SIGN_IN]
    assert len(given) == 4
    assert given[0].pop("has-mlflow") == "${{ (secrets.MLFLOW_TRACKING_URI || vars.MLFLOW_TRACKING_URI) != '' }}"
    assert given[0] == given[1] == given[2] == given[3]
    assert set(given[0]) <= set(read(ROOT / ".github/actions/sign-in/action.yml")["inputs"])
    assert "github.token" not in CALLED.read_text()


def test_attestations_and_mlflows_tags_are_of_the_digest_that_this_run_pushed(image: dict[str, Any]) -> None:
    jobs = image["jobs"]
    assert jobs["build"]["outputs"]["digest"] == "${{ steps.push.outputs.digest }}"
    given = [step["with"] for step in jobs["build"]["steps"] if str(step.get("uses")).startswith("actions/attest@")]
    assert [each["subject-digest"] for each in given] == ["${{ steps.push.outputs.digest }}"] * 2
    assert jobs["promote"]["env"]["DIGEST"] == "${{ needs.build.outputs.digest || needs.resolve.outputs.digest }}"


def test_the_repository_is_decided_once_for_all_jobs(image: dict[str, Any]) -> None:
    for name in ("build", "promote"):
        assert image["jobs"][name]["env"]["FORMER_NAME"] == "${{ needs.resolve.outputs.former_name }}"


def test_a_dry_run_signs_in_to_write_nowhere_and_promotes_nothing(image: dict[str, Any]) -> None:
    build = {step["name"]: step.get("if", "") for step in image["jobs"]["build"]["steps"]}
    assert "inputs.push" in build["Sign in to push"]
    for name in ("Write the SBOM", "Attest the build provenance", "Write the image into MLflow"):
        assert "steps.push.outputs.digest != ''" in build[name]
    assert "inputs.push" in image["jobs"]["promote"]["if"]
    assert image["env"]["PUSH"] == "${{ inputs.push }}"


def test_an_event_never_says_where_to_push_or_what_to_force(caller: dict[str, Any]) -> None:
    given = caller["jobs"]["image"]["with"]
    assert given["force"] == "${{ github.event_name == 'workflow_dispatch' && inputs.force }}"
    assert given["push"] == "${{ github.event_name != 'workflow_dispatch' || inputs.push }}"
    from_event = [name for name, value in given.items() if "client_payload" in value]
    assert from_event == ["payload"]


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
