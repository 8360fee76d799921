"""The workflow's step "Sign out", by the shell that runs it."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

WORKFLOW = Path(__file__).parents[4] / ".github/workflows/model-image.yml"


def sign_out(tmp_path: Path, **environment: str) -> str:
    """Run the step on a signed-in runner; return what it set for the steps after it."""
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["image"]["steps"]
    script = next(step["run"] for step in steps if step["name"] == "Sign out")
    (tmp_path / "mlflow-bridge-read").mkdir()
    (tmp_path / "mlflow-bridge-read" / "config.json").write_text('{"auths": {"r.example": {"auth": "aHVzaA=="}}}')
    (tmp_path / "env").touch()
    variables = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), "GITHUB_ENV": str(tmp_path / "env")}
    variables |= {"AZURE_CLIENT_ID": "", **environment}
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=variables, check=True)
    return (tmp_path / "env").read_text()


def test_the_sign_in_to_read_is_removed_and_nothing_is_set_for_later_steps(tmp_path: Path) -> None:
    assert sign_out(tmp_path) == ""
    assert not (tmp_path / "mlflow-bridge-read").exists()


def test_the_keys_of_a_role_at_aws_are_blank_for_all_later_steps(tmp_path: Path) -> None:
    blanked = sign_out(tmp_path, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_SESSION_TOKEN="c")
    assert blanked.splitlines() == ["AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN="]


@pytest.mark.parametrize("status", [0, 1])
def test_azures_own_program_signs_out_and_may_fail(tmp_path: Path, status: int) -> None:
    program = tmp_path / "bin" / "az"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexit {status}\n')
    program.chmod(0o755)
    sign_out(tmp_path, PATH=f"{program.parent}{os.pathsep}{os.environ['PATH']}", AZURE_CLIENT_ID="11")
    assert (tmp_path / "asked").read_text() == "logout\n"
