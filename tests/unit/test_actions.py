"""Third-party actions wherever we name them: in our workflows and in our own actions."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.image.registry.credentials import AccessSettings, SignIn, SignInMethod

from .test_workflows import CALLED, ROOT, read

ACTIONS = json.loads((Path(__file__).parent / "actions.json").read_text())
"""Commits and inputs of the releases that we use, from their repositories. GitHub ignores an unknown input."""

SIGN_IN = ROOT / ".github/actions/sign-in/action.yml"
SIGN_OUT = ROOT / ".github/actions/sign-out/action.yml"
FILES = sorted(
    [
        *(ROOT / ".github/workflows").glob("*.yml"),
        *(ROOT / ".github/actions").glob("*/action.yml"),
    ]
)
PINNED = re.compile(r"uses: ([^./\s][^@\s]*)@([0-9a-f]{40}) # (v[0-9]\S*)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def sections(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Return the steps of each job, or of the action."""
    document = read(path)
    yield from (list(job.get("steps", [])) for job in document.get("jobs", {}).values())
    yield document.get("runs", {}).get("steps", [])


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_action_is_pinned_to_the_commit_of_the_release_that_its_comment_names(path: Path) -> None:
    text = path.read_text()
    remote = re.findall(r"uses: (?!\./)\S+", text)
    pinned = PINNED.findall(text)
    assert len(remote) == len(pinned)
    for action, sha, tag in pinned:
        assert (sha, tag) == (ACTIONS[action]["sha"], ACTIONS[action]["tag"]), action


def test_the_docs_list_all_actions_that_an_organization_must_allow() -> None:
    page = (ROOT / "docs/registries.md").read_text()
    listed = re.findall(r"^([\w-]+/[\w-]+@v\S+)$", page, re.MULTILINE)
    used = {
        action
        for path in (CALLED, *(ROOT / ".github/actions").glob("*/action.yml"))
        for action, _, _ in PINNED.findall(path.read_text())
    }
    assert listed == sorted(f"{action}@{ACTIONS[action]['tag']}" for action in used)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_input_of_an_action_is_one_that_it_has(path: Path) -> None:
    for steps in sections(path):
        for step in steps:
            if "uses" in step and not step["uses"].startswith("./"):
                assert set(step.get("with", {})) <= set(ACTIONS[step["uses"].split("@")[0]]["inputs"]), step["name"]


def test_the_sign_in_uses_exactly_the_outputs_of_the_choice() -> None:
    used = set(re.findall(r"steps\.choose\.outputs\.([\w-]+)", SIGN_IN.read_text()))
    assert used == set(SignIn(SignInMethod.NONE).outputs())


def test_every_method_has_its_steps() -> None:
    methods = set(re.findall(r"outputs\.way == '([\w-]+)'", SIGN_IN.read_text()))
    assert methods == {way.value for way in SignInMethod} - {SignInMethod.NONE.value}


def test_the_choice_only_knows_whether_secrets_are_set() -> None:
    choose = read(SIGN_IN)["runs"]["steps"][0]
    secrets = ("password", "aws-access-key-id", "aws-secret-access-key")
    for variable, value in choose["env"].items():
        for secret in secrets:
            bare = value.replace(f"inputs.{secret} != ''", "")
            assert f"inputs.{secret}" not in bare, variable
    assert {variable.lower() for variable in choose["env"]} <= set(AccessSettings.model_fields)


def test_the_runs_own_token_goes_to_no_host_but_ghcr() -> None:
    with_token = [step for step in read(SIGN_IN)["runs"]["steps"] if "github.token" in yaml.dump(step)]
    assert [step["with"]["registry"] for step in with_token] == ["ghcr.io"]
    assert with_token[0]["if"] == "steps.choose.outputs.way == 'run-token'"


def test_docker_hub_gets_the_connection_and_no_password() -> None:
    (step,) = (
        step for step in read(SIGN_IN)["runs"]["steps"] if step.get("if", "").endswith("way == 'docker-hub-identity'")
    )
    assert step["with"] == {"registry": "docker.io", "username": "${{ steps.choose.outputs.username }}"}
    assert step["env"] == {"DOCKERHUB_OIDC_CONNECTIONID": "${{ env.DOCKERHUB_OIDC_CONNECTIONID }}"}


def test_azures_program_keeps_its_sign_in_in_a_folder_that_the_sign_out_deletes() -> None:
    steps = [
        step
        for step in read(SIGN_IN)["runs"]["steps"]
        if "az " in step.get("run", "") or "azure/" in step.get("uses", "")
    ]
    folders = {step["env"]["AZURE_CONFIG_DIR"] for step in steps}
    assert len(steps) == 2
    assert folders == {"${{ runner.temp }}/mlflow-bridge-azure"}
    assert '"$RUNNER_TEMP/mlflow-bridge-azure"' in SIGN_OUT.read_text()


def test_the_sign_out_leaves_no_credential_in_the_files_by_which_steps_pass_values(tmp_path: Path) -> None:
    config, files = tmp_path / "read", tmp_path / "_runner_file_commands"
    for folder in (config, files):
        folder.mkdir()
    (config / "config.json").write_text("s3cret")
    for name in ("set_env_1", "set_output_1", "save_state_1"):
        (files / name).write_text("TOKEN=s3cret\n")
    (files / "step_summary_1-scrubbed").write_text("not uploaded yet")
    (files / "set_env_2").touch()
    environment = {
        "PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), "DOCKER_CONFIG": str(config),
        "GITHUB_ENV": str(files / "set_env_2"), "AWS_ACCESS_KEY_ID": "s3cret",
    }  # fmt: skip
    (step,) = read(SIGN_OUT)["runs"]["steps"]
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", step["run"]], env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "s3cret" in path.read_text()]
    assert (files / "set_env_2").read_text().splitlines() == [
        "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN=",
    ]  # fmt: skip
    assert (files / "step_summary_1-scrubbed").read_text()


def test_every_step_after_the_choice_depends_on_it() -> None:
    choose, *others = read(SIGN_IN)["runs"]["steps"]
    assert choose["id"] == "choose"
    assert [step["name"] for step in others if "steps.choose.outputs." not in step.get("if", "")] == []


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-actions", sorted((ROOT / ".github/actions").glob("*/action.yml"))),
        ("vendor.dependabot", [ROOT / ".github/dependabot.yml"]),
    ],
)
def test_our_own_actions_and_dependabots_file_fit_their_schemas(schema: str, files: list[Path]) -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([program, "--builtin-schema", schema, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
