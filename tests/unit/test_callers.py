"""The examples of callers in docs/: each can be copied as it is, and grants just what its registry needs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bridge.core.errors import BridgeError
from bridge.image.registry.credentials import AccessSettings, SignIn, SignInMethod, choose_sign_in

from .test_workflows import ROOT, read

CALLERS = sorted((ROOT / "docs/examples/callers").glob("*.yml"))
OUR_CALLER = ROOT / ".github/workflows/on-mlflow-event.yml"
WAYS = {
    "amazon-ecr": SignInMethod.AWS_ROLE,
    "any-other": SignInMethod.PASSWORD,
    "azure-container-registry": SignInMethod.AZURE_IDENTITY,
    "docker-hub": SignInMethod.PASSWORD,
    "ghcr": SignInMethod.RUN_TOKEN,
    "google-artifact-registry": SignInMethod.GOOGLE_IDENTITY,
}
PROGRAMS = Path(sys.executable).parent


def name(path: Path) -> str:
    return path.stem


def listed(path: Path, what: str) -> dict[str, str]:
    """Read the names and values that the head comment lists under `what`."""
    found = re.search(rf"^# {what} of the repository:\n((?:#   .*\n)+)", path.read_text(), re.MULTILINE)
    assert found, what
    return dict(line.removeprefix("#   ").split(maxsplit=1) for line in found.group(1).splitlines())


def job(path: Path) -> dict[str, Any]:
    image: dict[str, Any] = read(path)["jobs"]["image"]
    return image


def given(path: Path) -> AccessSettings:
    """Say what a repository gives that was set up as the example's head says."""
    variables = {key.lower(): value for key, value in listed(path, "Variables").items()}
    permitted = job(path)["permissions"].get("id-token") == "write"
    others = {
        "has_password": "DOCKER_REGISTRY_PASSWORD" in job(path)["secrets"],
        "has_aws_keys": "AWS_ACCESS_KEY_ID" in job(path)["secrets"],
        "actions_id_token_request_url": "https://token.example" if permitted else "",
    }
    return AccessSettings.model_validate(variables | others)  # nothing of this machine's environment


def chosen(given: AccessSettings) -> SignIn | None:
    try:
        return choose_sign_in(given)
    except BridgeError:
        return None


def run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(PROGRAMS / program), *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_way_of_signing_in_without_a_stored_aws_key_has_an_example() -> None:
    assert {path.stem for path in CALLERS} == set(WAYS)
    assert set(WAYS.values()) == set(SignInMethod) - {SignInMethod.NONE, SignInMethod.AWS_KEYS}


@pytest.mark.parametrize("path", CALLERS, ids=name)
def test_set_up_as_its_head_says_an_example_signs_in(path: Path) -> None:
    found = choose_sign_in(given(path))
    assert found.method is WAYS[path.stem]


@pytest.mark.parametrize("path", CALLERS, ids=name)
def test_an_example_asks_for_nothing_that_its_registry_does_without(path: Path) -> None:
    full = given(path)
    empty = AccessSettings.model_validate({"docker_registry": full.docker_registry})
    asked = {field for field in AccessSettings.model_fields if getattr(full, field) != getattr(empty, field)}
    spare = {
        field
        for field in asked - {"docker_namespace"}
        if (without := chosen(full.model_copy(update={field: getattr(empty, field)})))
        and without.method is WAYS[path.stem]
    }
    assert spare == set()


@pytest.mark.parametrize("path", CALLERS, ids=name)
def test_an_example_grants_just_the_permissions_that_its_way_needs(path: Path) -> None:
    needed = {"contents": "read"}
    if WAYS[path.stem] is SignInMethod.RUN_TOKEN:
        needed["packages"] = "write"
    if WAYS[path.stem] in (SignInMethod.AWS_ROLE, SignInMethod.GOOGLE_IDENTITY, SignInMethod.AZURE_IDENTITY):
        needed["id-token"] = "write"
    assert job(path)["permissions"] == needed
    assert read(path)["permissions"] == {}


@pytest.mark.parametrize("path", CALLERS, ids=name)
def test_an_example_starts_and_calls_as_our_own_caller_does(path: Path) -> None:
    ours, theirs = read(OUR_CALLER), read(path)
    assert {key: theirs[key] for key in ("name", "run-name", "on")} == {
        key: ours[key] for key in ("name", "run-name", "on")
    }
    assert job(path)["with"] == job(OUR_CALLER)["with"]


@pytest.mark.parametrize("path", CALLERS, ids=name)
def test_an_example_hands_on_just_the_secrets_that_its_head_names_and_the_workflow_knows(path: Path) -> None:
    secrets = job(path)["secrets"]
    assert secrets == {secret: f"${{{{ secrets.{secret} }}}}" for secret in listed(path, "Secrets")}
    declared = read(ROOT / ".github/workflows/model-image.yml")["on"]["workflow_call"]["secrets"]
    assert set(secrets) <= set(declared)


def test_the_examples_are_workflows_by_githubs_schema() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, CALLERS))


def test_act_reads_the_examples_strictly() -> None:
    run("act", "--validate", "--strict", "--workflows", str(CALLERS[0].parent))


def test_zizmor_finds_nothing_in_the_examples_and_in_our_own_files() -> None:
    config = str(ROOT / ".github/zizmor.yml")
    run("zizmor", "--quiet", "--offline", "--pedantic", "--config", config, ".github", *map(str, CALLERS))


def test_our_own_actions_and_bots_files_fit_their_schemas() -> None:
    actions = sorted(str(path) for path in (ROOT / ".github/actions").glob("*/action.yml"))
    run("check-jsonschema", "--builtin-schema", "vendor.github-actions", *actions)
    run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
