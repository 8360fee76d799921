"""Third-party actions wherever we name them: in our workflows, in our own action, and in the examples for users."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.image.registry.credentials import AccessSettings, SignIn, SignInMethod

from .test_workflows import ACTIONS, ROOT, read

SIGN_IN = ROOT / ".github/actions/sign-in/action.yml"
FILES = sorted(
    [
        *(ROOT / ".github/workflows").glob("*.yml"),
        *(ROOT / ".github/actions").glob("*/action.yml"),
        *(ROOT / "docs/examples").glob("**/*.yml"),
    ]
)
PINNED = re.compile(r"uses: ([^./\s][^@\s]*)@([0-9a-f]{40}) # (v[0-9]\S*)")
OWN = "owner/mlflow-actions-bridge/.github/workflows/model-image.yml"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def sections(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Give the steps of each job, or of the action."""
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
        if action != OWN:
            assert (sha, tag) == (ACTIONS[action]["sha"], ACTIONS[action]["tag"]), action


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_input_and_output_of_an_action_is_one_that_it_has(path: Path) -> None:
    for steps in sections(path):
        for step in steps:
            if "uses" not in step or step["uses"].startswith("./"):
                continue
            action = ACTIONS[step["uses"].split("@")[0]]
            assert set(step.get("with", {})) <= set(action["inputs"]), step["name"]
            if "id" in step:
                taken = re.findall(rf"steps\.{step['id']}\.outputs\.([\w-]+)", yaml.dump(steps))
                assert set(taken) <= set(action["outputs"]), step["name"]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_script_holds_an_expression(path: Path) -> None:
    said = [step["name"] for steps in sections(path) for step in steps if "${{" in step.get("run", "")]
    assert said == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_uv_is_the_one_that_is_locked_here(path: Path) -> None:
    locked = re.search(r"^uv==(\S+)", (ROOT / "requirements/uv.txt").read_text(), re.MULTILINE)
    assert locked
    for steps in sections(path):
        for step in steps:
            if step.get("uses", "").startswith("astral-sh/setup-uv@"):
                assert step["with"]["version"] == locked.group(1)


def test_the_sign_in_takes_from_the_choice_just_what_it_gives() -> None:
    taken = set(re.findall(r"steps\.choose\.outputs\.([\w-]+)", SIGN_IN.read_text()))
    assert taken == set(SignIn(SignInMethod.NONE).outputs())


def test_every_way_has_its_steps_and_no_step_waits_for_another() -> None:
    waited = set(re.findall(r"outputs\.way == '([\w-]+)'", SIGN_IN.read_text()))
    assert waited == {way.value for way in SignInMethod} - {SignInMethod.NONE.value}


def test_the_choice_is_told_of_secrets_only_whether_they_are_set() -> None:
    choose = read(SIGN_IN)["runs"]["steps"][0]
    secrets = ("password", "aws-access-key-id", "aws-secret-access-key")
    for variable, value in choose["env"].items():
        for secret in secrets:
            bare = value.replace(f"inputs.{secret} != ''", "")
            assert f"inputs.{secret}" not in bare, variable
    assert {each.lower() for each in choose["env"]} <= set(AccessSettings.model_fields)


def test_the_runs_own_token_goes_to_no_host_but_ghcr() -> None:
    with_token = [step for step in read(SIGN_IN)["runs"]["steps"] if "github.token" in yaml.dump(step)]
    assert [step["with"]["registry"] for step in with_token] == ["ghcr.io"]
    assert with_token[0]["if"] == "steps.choose.outputs.way == 'run-token'"


def test_every_step_after_the_choice_waits_for_what_was_chosen() -> None:
    choose, *others = read(SIGN_IN)["runs"]["steps"]
    assert choose["id"] == "choose"
    assert [step["name"] for step in others if "steps.choose.outputs." not in step.get("if", "")] == []
