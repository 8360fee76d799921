"""The action sign-out, by the shell that runs it."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ACTION = Path(__file__).parents[4] / ".github/actions/sign-out/action.yml"


def sign_out(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the action's step with `tmp_path` as the runner's temporary folder."""
    (step,) = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
    (tmp_path / "env").touch()
    variables = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), "GITHUB_ENV": str(tmp_path / "env")}
    variables |= {"DOCKER_CONFIG": str(tmp_path / "read"), **environment}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, env=variables, check=False, capture_output=True, text=True)


def folder_with_a_secret(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"auths": {"r.example": {"auth": "aHVzaA=="}}}')
    return folder


def test_the_folders_of_docker_and_azure_are_deleted_and_no_others(tmp_path: Path) -> None:
    read, azure, other = (folder_with_a_secret(tmp_path / name) for name in ("read", "mlflow-bridge-azure", "other"))
    for _ in range(2):  # signing out twice is no error
        assert sign_out(tmp_path).returncode == 0
    assert not read.exists()
    assert not azure.exists()
    assert (other / "config.json").exists()
    assert (tmp_path / "env").read_text() == ""


def test_the_keys_of_a_role_at_aws_are_empty_for_all_later_steps(tmp_path: Path) -> None:
    sign_out(tmp_path, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_SESSION_TOKEN="c", AWS_REGION="d")
    assert (tmp_path / "env").read_text().splitlines() == [
        "AWS_ACCESS_KEY_ID=",
        "AWS_SECRET_ACCESS_KEY=",
        "AWS_SESSION_TOKEN=",
    ]


@pytest.mark.parametrize("place", ["", "home", "temporary"])
def test_a_folder_that_is_not_below_the_temporary_one_stays_and_is_an_error(tmp_path: Path, place: str) -> None:
    home, temporary = folder_with_a_secret(tmp_path / "home"), folder_with_a_secret(tmp_path / "temporary")
    folder = str(tmp_path / place) if place else ""
    result = sign_out(temporary, DOCKER_CONFIG=folder)
    assert result.returncode == 1
    assert result.stdout.startswith("::error ")
    assert (home / "config.json").exists()
    assert (temporary / "config.json").exists()
