"""How a failed smoke test is reported, by fake programs; real containers are in tests/e2e/test_sandbox.py."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bridge.image.docker import RUN, Container
from bridge.image.errors import SmokeTestFailed
from bridge.image.metadata import SERVING_EXAMPLE, ModelMetadata
from bridge.image.settings import ImageSettings
from bridge.image.steps.smoke_test import ping, smoke_test
from bridge.image.workspace import Plan, Workspace
from tests.unit.image.fake_programs import Programs
from tests.waiting import PATIENCE


def inspected(**state: Any) -> str:
    return json.dumps({"state": {"Running": False, "ExitCode": 0, "OOMKilled": False} | state, "memory": 10**9})


@pytest.fixture
def failing(programs: Programs) -> Programs:
    """A container that starts and ends at once."""
    programs.say("docker run", "0123abc\n")
    programs.say("docker info", "8000000000 4\n")
    programs.say("docker exec", "Error response from daemon: container 0123abc is not running\n", status=1)
    programs.say("docker wait", "137\n")
    programs.say("docker container", inspected(ExitCode=137, OOMKilled=True))
    programs.say("docker logs", "::error::from the model\n")
    programs.say("docker rm")
    return programs


def planned(folder: Path, smoke: str) -> Workspace:
    workspace = Workspace(folder / "work")
    metadata = ModelMetadata("3.17.2", "3.11.7", has_serving_example=True)
    workspace.write_plan(Plan("iris", "7", "models:/m-7", "", "r.example/iris", smoke, metadata))
    workspace.write_image_id("sha256:image")
    return workspace


def test_a_container_that_ran_out_of_memory_is_reported_as_such_and_removed(failing: Programs, tmp_path: Path) -> None:
    with pytest.raises(SmokeTestFailed) as raised:
        smoke_test(ImageSettings(), planned(tmp_path, "ping"))
    assert "1.0 GB" in raised.value.message
    assert "137" in raised.value.message
    assert "not running" not in raised.value.message
    assert "runs-on" in raised.value.hint
    assert failing.calls[-1][1] == ["rm", "--force", "--volumes", "0123abc"]


@pytest.mark.usefixtures("failing")
def test_the_containers_log_is_shown_where_it_commands_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SmokeTestFailed):
        smoke_test(ImageSettings(), planned(tmp_path, "ping"))
    lines = capfd.readouterr().out.splitlines()
    place = lines.index("::error::from the model")
    token = lines[place - 1].removeprefix("::stop-commands::")
    assert lines[place - 1] != token
    assert f"::{token}::" in lines[place + 1 :]


def test_a_server_that_answers_wrongly_is_reported_with_its_answer(failing: Programs) -> None:
    failing.say("docker exec", "/ping: 500\n", status=1)
    failing.say("docker container", inspected(Running=True))
    with pytest.raises(SmokeTestFailed, match=r"/ping: 500") as raised:
        ping(Container("0123abc"), "r.example/iris:7")
    assert "runs-on" not in raised.value.hint


def test_a_model_without_an_example_to_send_starts_no_container(failing: Programs, tmp_path: Path) -> None:
    with pytest.raises(SmokeTestFailed, match=SERVING_EXAMPLE):
        smoke_test(ImageSettings(), planned(tmp_path, "invoke"))
    assert failing.calls == []


def test_without_a_smoke_test_no_container_is_started(failing: Programs, tmp_path: Path) -> None:
    smoke_test(ImageSettings(), planned(tmp_path, "off"))
    assert failing.calls == []


def test_a_program_that_the_build_left_running_is_killed_before_the_job_signs_in_again(tmp_path: Path) -> None:
    workspace = planned(tmp_path, "off")
    with subprocess.Popen(["sleep", "600"], env=os.environ | {RUN: workspace.run}) as left:
        smoke_test(ImageSettings(), workspace)
        assert left.wait(PATIENCE) == -signal.SIGKILL
