"""The order in which secrets and model code meet in the workflow, and what act ignores: permissions and concurrency."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.github.expressions import evaluate

ROOT = Path(__file__).parents[2]
CALLED = ROOT / ".github/workflows/model-image.yml"
SIGN_IN = "./.bridge/.github/actions/sign-in"
MLFLOW = re.compile(r"secrets\.MLFLOW_|vars\.MLFLOW_")
PIP = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "CA_CERTIFICATES"}
HAS = {"HAS_PACKAGE_INDEX", "HAS_CA_CERTIFICATES"}
SECRET = re.compile(r"secrets\.|github\.token|vars\.MLFLOW_")
PROMOTE = (
    "${{ inputs.gate == '' && inputs.require-attestations == false && 'Promote aliases' "
    "|| 'Promote aliases that passed the checks' }}"
)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506  only makes strings
    return document


@pytest.fixture
def image() -> dict[str, Any]:
    return read(CALLED)


@pytest.fixture
def steps(image: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The steps of the only job, by their names."""
    (job,) = image["jobs"].values()
    steps = {step["name"]: step for step in job["steps"]}
    assert len(steps) == len(job["steps"])
    return steps


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


def test_while_model_code_runs_no_step_knows_a_credential_but_those_of_the_package_index(
    image: dict[str, Any], steps: dict[str, dict[str, Any]]
) -> None:
    names = list(steps)
    between = names[names.index("Sign out") + 1 : names.index("Sign in to write")]
    assert between == ["Build the image", "Smoke-test the image"]
    assert SECRET.findall(json.dumps([image.get("env"), steps["Smoke-test the image"]])) == []
    assert {name for name, value in image["jobs"]["image"]["env"].items() if SECRET.search(value)} == HAS
    assert steps["Build the image"]["env"] == {
        name: f"${{{{ steps.resolve.outputs.layered == 'true' && secrets.{name} || '' }}}}" for name in PIP
    }


def test_of_the_secrets_of_a_package_index_all_steps_but_the_build_know_only_whether_they_are_set(
    image: dict[str, Any], steps: dict[str, dict[str, Any]]
) -> None:
    env = image["jobs"]["image"]["env"]
    assert all(re.fullmatch(r"\$\{\{ (secrets\.\w+ != ''( \|\| )?)+ \}\}", env[name]) for name in HAS)
    knowing = {name for name, step in steps.items() if set(re.findall(r"secrets\.(\w+)", json.dumps(step))) & PIP}
    assert knowing == {"Build the image"}


def test_the_steps_come_in_the_order_that_keeps_credentials_from_model_code(steps: dict[str, dict[str, Any]]) -> None:
    order = [
        "Sign in to read", "Resolve the version", "Download the model", "Sign out", "Build the image",
        "Smoke-test the image", "Sign in to write", "Push the image", "Write the image into MLflow", "Write the SBOM",
        "Attest the image", "Verify the attestations of the existing image", "Run the gate", PROMOTE,
        "Attest the image without requiring it", "Upload the SBOM", "Upload the result",
    ]  # fmt: skip
    assert [name for name in steps if name in order] == order
    assert [name for name, step in steps.items() if step.get("uses") == SIGN_IN] == [
        "Sign in to read",
        "Sign in to write",
    ]


def test_a_sign_in_to_read_has_its_own_folder_which_is_deleted_before_the_build(
    steps: dict[str, dict[str, Any]],
) -> None:
    folder = {"DOCKER_CONFIG": "${{ runner.temp }}/mlflow-bridge-read"}
    having = {name for name, step in steps.items() if folder.items() <= step.get("env", {}).items()}
    assert having == {"Sign in to read", "Resolve the version", "Download the model", "Sign out"}
    assert steps["Sign out"]["uses"] == "./.bridge/.github/actions/sign-out"
    assert steps["Sign out"]["if"].startswith("always()")


def test_mlflows_variables_are_set_for_the_steps_that_need_them_alone(steps: dict[str, dict[str, Any]]) -> None:
    having = {name for name, step in steps.items() if MLFLOW.search(json.dumps(step.get("env", {})))}
    assert having == {
        "Resolve the version", "Download the model", "Write the image into MLflow", PROMOTE,
        "Report the failure to MLflow",
    }  # fmt: skip


def test_attestations_are_of_the_digest_that_this_run_pushed_and_only_a_required_one_withholds_an_alias(
    steps: dict[str, dict[str, Any]],
) -> None:
    required, other = steps["Attest the image"], steps["Attest the image without requiring it"]
    assert required["with"] == other["with"]
    assert required["with"]["digest"] == "${{ steps.push.outputs.digest }}"
    assert "continue-on-error" not in required
    for step in (other, steps["Upload the SBOM"], steps["Upload the result"]):
        assert step["continue-on-error"] == "true"


def test_a_dry_run_signs_in_to_write_nowhere_and_promotes_nothing(
    image: dict[str, Any], steps: dict[str, dict[str, Any]]
) -> None:
    for name in ("Sign in to write", "Run the gate", PROMOTE, "Upload the result"):
        assert "inputs.push" in steps[name]["if"]
    for name in ("Write the SBOM", "Attest the image", "Write the image into MLflow"):
        assert "steps.push.outputs.digest != ''" in steps[name]["if"]
    assert image["jobs"]["image"]["env"]["PUSH"] == "${{ inputs.push }}"


def test_a_step_that_may_hold_an_alias_does_not_have_the_documented_name(steps: dict[str, dict[str, Any]]) -> None:
    expression = PROMOTE.removeprefix("${{").removesuffix("}}")
    names = [
        evaluate(expression, {"inputs": {"gate": gate, "require-attestations": required}})
        for gate, required in (("", False), ("true", False), ("", True))
    ]
    assert names[0] == "Promote aliases"
    assert "Promote aliases" not in names[1:]
    assert PROMOTE in steps


def test_an_event_never_decides_whether_to_push_or_to_force(caller: dict[str, Any]) -> None:
    inputs = caller["jobs"]["image"]["with"]
    assert inputs["force"] == "${{ github.event_name == 'workflow_dispatch' && inputs.force }}"
    assert inputs["push"] == "${{ github.event_name != 'workflow_dispatch' || inputs.push }}"
    from_event = [name for name, value in inputs.items() if "client_payload" in value]
    assert from_event == ["payload"]


def test_no_run_waits_for_another_or_cancels_it(image: dict[str, Any]) -> None:
    """GitHub cancels what is pending in a concurrency group, and its names ignore case."""
    assert not [part for part in (image, *image["jobs"].values()) if "concurrency" in part]


def test_the_runs_name_begins_with_the_dispatch_id(caller: dict[str, Any]) -> None:
    assert caller["run-name"].startswith("${{ github.event.client_payload.dispatch_id || ")
