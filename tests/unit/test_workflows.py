"""The order in which secrets and model code meet in the workflow, and what act ignores: permissions and concurrency."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CALLED = ROOT / ".github/workflows/model-image.yml"
SIGN_IN = "./.bridge/.github/actions/sign-in"
MLFLOW = re.compile(r"secrets\.MLFLOW_|vars\.MLFLOW_")
PIP = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "CA_CERTIFICATES"}
REGISTRY = re.compile(r"secrets\.DOCKER_REGISTRY_PASSWORD|github\.token")


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506  only makes strings
    return document


@pytest.fixture
def image() -> dict[str, Any]:
    return read(CALLED)


@pytest.fixture
def caller() -> dict[str, Any]:
    return read(ROOT / ".github/workflows/on-mlflow-event.yml")


def test_the_called_jobs_request_no_permissions_so_that_a_caller_grants_only_what_its_registry_needs(
    caller: dict[str, Any], image: dict[str, Any]
) -> None:
    assert set(image["on"]) == {"workflow_call"}
    assert not [job for job in [image, *image["jobs"].values()] if "permissions" in job]
    assert caller["jobs"]["image"]["permissions"] == {"contents": "read", "packages": "write"}


def test_the_caller_passes_exactly_the_secrets_that_are_declared_and_used(
    caller: dict[str, Any], image: dict[str, Any]
) -> None:
    declared, job = image["on"]["workflow_call"], caller["jobs"]["image"]
    assert job["secrets"] == {name: f"${{{{ secrets.{name} }}}}" for name in declared["secrets"]}
    assert set(job["with"]) <= set(declared["inputs"])
    assert set(re.findall(r"secrets\.(\w+)", CALLED.read_text())) == set(declared["secrets"])


def test_the_steps_that_run_model_code_get_nothing_of_mlflow_or_the_registry(image: dict[str, Any]) -> None:
    build = {step["name"]: json.dumps(step) for step in image["jobs"]["build"]["steps"]}
    for name in ("Build the image", "Smoke-test the image"):
        assert not MLFLOW.search(build[name]), name
        assert not REGISTRY.search(build[name]), name
    assert not MLFLOW.search(json.dumps([image["env"], image["jobs"]["build"]["env"]]))
    assert "secrets." not in build["Smoke-test the image"]
    env = next(step["env"] for step in image["jobs"]["build"]["steps"] if step["name"] == "Build the image")
    assert env == {name: f"${{{{ needs.resolve.outputs.layered == 'true' && secrets.{name} || '' }}}}" for name in PIP}


def test_of_the_secrets_of_a_package_index_all_steps_but_the_build_know_only_whether_they_are_set(
    image: dict[str, Any],
) -> None:
    known = {name for name, value in image["env"].items() if "secrets." in value}
    assert known == {"HAS_PACKAGE_INDEX", "HAS_CA_CERTIFICATES"}
    assert all(re.fullmatch(r"\$\{\{ (secrets\.\w+ != ''( \|\| )?)+ \}\}", image["env"][name]) for name in known)
    steps = [step for job in image["jobs"].values() for step in job["steps"]]
    knowing = {step["name"] for step in steps if set(re.findall(r"secrets\.(\w+)", json.dumps(step))) & PIP}
    assert knowing == {"Build the image"}


def test_a_sign_in_to_read_has_its_own_folder_which_is_deleted_before_the_build(image: dict[str, Any]) -> None:
    build = {step["name"]: step for step in image["jobs"]["build"]["steps"]}
    reads = build["Sign in to read"]
    assert reads["env"] == {"DOCKER_CONFIG": "${{ runner.temp }}/mlflow-bridge-read"}
    assert build["Download the model"]["env"]["DOCKER_CONFIG"] == reads["env"]["DOCKER_CONFIG"]
    sign_out = build["Sign out"]
    assert "if" not in reads
    assert sign_out["if"] == "always()"
    assert 'rm -rf "$RUNNER_TEMP/mlflow-bridge-read"' in sign_out["run"]
    names = list(build)
    assert names.index("Download the model") + 1 == names.index("Sign out") == names.index("Build the image") - 1


def test_the_build_signs_in_to_write_only_after_the_smoke_test(image: dict[str, Any]) -> None:
    names = [step["name"] for step in image["jobs"]["build"]["steps"]]
    signs_in = [step["name"] for step in image["jobs"]["build"]["steps"] if step.get("uses") == SIGN_IN]
    assert signs_in == ["Sign in to read", "Sign in to push"]
    assert names.index("Smoke-test the image") < names.index(signs_in[1]) < names.index("Push the image")


def test_attestations_and_mlflows_tags_are_of_the_digest_that_this_run_pushed(image: dict[str, Any]) -> None:
    jobs = image["jobs"]
    assert jobs["build"]["outputs"]["digest"] == "${{ steps.push.outputs.digest }}"
    inputs = [step["with"] for step in jobs["build"]["steps"] if str(step.get("uses")).startswith("actions/attest@")]
    assert [values["subject-digest"] for values in inputs] == ["${{ steps.push.outputs.digest }}"] * 2
    assert jobs["promote"]["env"]["DIGEST"] == "${{ needs.build.outputs.digest || needs.resolve.outputs.digest }}"


def test_a_dry_run_signs_in_to_write_nowhere_and_promotes_nothing(image: dict[str, Any]) -> None:
    build = {step["name"]: step.get("if", "") for step in image["jobs"]["build"]["steps"]}
    assert "inputs.push" in build["Sign in to push"]
    for name in ("Write the SBOM", "Attest the build provenance", "Write the image into MLflow"):
        assert "steps.push.outputs.digest != ''" in build[name]
    assert "inputs.push" in image["jobs"]["promote"]["if"]
    assert image["env"]["PUSH"] == "${{ inputs.push }}"


def test_an_event_never_decides_whether_to_push_or_to_force(caller: dict[str, Any]) -> None:
    inputs = caller["jobs"]["image"]["with"]
    assert inputs["force"] == "${{ github.event_name == 'workflow_dispatch' && inputs.force }}"
    assert inputs["push"] == "${{ github.event_name != 'workflow_dispatch' || inputs.push }}"
    from_event = [name for name, value in inputs.items() if "client_payload" in value]
    assert from_event == ["payload"]


def test_one_build_of_a_version_and_one_promotion_of_a_model_run_at_a_time(image: dict[str, Any]) -> None:
    build, promote = image["jobs"]["build"]["concurrency"], image["jobs"]["promote"]["concurrency"]
    model = "${{ needs.resolve.outputs.group || github.run_id }}"
    assert build["group"] == f"mlflow-build-{model}-${{{{ needs.resolve.outputs.version }}}}"
    assert promote["group"] == f"mlflow-promote-{model}"
    assert build["cancel-in-progress"] == promote["cancel-in-progress"] == "false"


def test_the_runs_name_begins_with_the_dispatch_id(caller: dict[str, Any]) -> None:
    assert caller["run-name"].startswith("${{ github.event.client_payload.dispatch_id || ")
