"""What a build leaves behind, by an engine that says what a test wrote down; builds themselves are in tests/e2e."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.image import docker
from bridge.image.builders.choice import Builder
from bridge.image.builders.layered import assemble as layered
from bridge.image.builders.layered.plan import Previous
from bridge.image.errors import ImageTooLarge
from bridge.image.labels import LAYERED_RECIPE, RECIPE, RECIPE_LABEL
from bridge.image.metadata import ModelMetadata
from bridge.image.settings import ImageSettings
from bridge.image.steps.build import build, clean_up, labels
from bridge.image.workspace import Plan, Workspace
from tests.unit.image.fake_programs import Programs

PREVIOUS = Previous("r.example/iris", "sha256:5f", {"a": "b"}, ("sha256:b", "sha256:m"), ({"digest": "sha256:bz"},))
ADDRESS = "https://me:hush@one.example/simple"


def plan(name: str = "layered") -> Plan:
    metadata = ModelMetadata("3.17.2", "3.11.7", has_serving_example=False)
    builder = Builder(name, base_image="ours:1", wheels_only=True, layered_only=("base-image",))
    return Plan("iris", "7", "models:/m-7", "", "r.example/iris", "ping", metadata, builder)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "work")
    workspace.write_plan(plan())
    workspace.write_previous(PREVIOUS)
    return workspace


def test_what_one_step_writes_down_the_next_one_reads_alike(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.plan() == plan()
    assert workspace.previous() == PREVIOUS
    assert Workspace(tmp_path / "other").previous() is None


@pytest.mark.parametrize(("name", "recipe"), [("layered", LAYERED_RECIPE), ("mlflow", RECIPE)])
def test_an_image_says_which_builder_made_it(name: str, recipe: str) -> None:
    assert labels(plan(name), ImageSettings(), datetime.now(UTC))[RECIPE_LABEL] == recipe


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the builder in layers is called with; its image is loaded without an engine."""
    recorded: dict[str, Any] = {}

    class Made(layered.LayeredImage):
        def load(self) -> str:
            recorded["loaded"] = True
            return self.id

    def record(*words: Any, **named: Any) -> layered.LayeredImage:
        recorded.update(named, words=words)
        return Made(tmp_path, "sha256:1d", "sha256:d", (), ())

    monkeypatch.setattr("bridge.image.steps.build.layered.plan", lambda *words, **named: (words, named))
    monkeypatch.setattr("bridge.image.steps.build.layered.build", record)
    return recorded


def test_a_layered_build_gets_all_earlier_results_and_its_image_gets_the_versions_name(
    workspace: Workspace, asked: dict[str, Any], programs: Programs
) -> None:
    programs.say("docker", "100")
    build(ImageSettings(pip_index_url=SecretStr(ADDRESS)), workspace)
    assert asked["previous"] == PREVIOUS
    assert asked["secrets"] == {"index-url": ADDRESS}
    assert asked["created"] == asked["words"][3]["org.opencontainers.image.created"]
    assert asked["words"][1][1] == {"base_image": "ours:1", "wheels_only": True}
    assert asked["loaded"]
    assert programs.calls[0][1] == ["image", "tag", "sha256:1d", "r.example/iris:7"]
    assert workspace.image_id() == "sha256:1d"
    assert "hush" not in json.dumps([[words, env, stdin] for _, words, env, stdin in programs.calls])


def test_an_image_in_layers_that_is_too_large_is_refused_too(
    workspace: Workspace, asked: dict[str, Any], programs: Programs
) -> None:
    programs.say("docker", "2000000000")
    with pytest.raises(ImageTooLarge):
        build(ImageSettings(size_limit="1 GB"), workspace)
    assert asked["loaded"]


def test_all_that_the_job_has_left_is_removed_and_nothing_of_another_job(
    workspace: Workspace, programs: Programs
) -> None:
    programs.say("docker")
    programs.say("docker ps", "0123abc\n")
    programs.say("docker image", "sha256:1\n")
    workspace.write_pulled("r.example/iris@sha256:5f")
    (workspace.image / "layer").mkdir(parents=True)
    run = workspace.run
    with started(run) as left, started("another") as other:
        clean_up(workspace)
        assert left.wait() == -signal.SIGKILL
        assert other.poll() is None
    listed = ["--quiet", "--no-trunc", "--filter"]
    assert [call[1] for call in programs.calls] == [
        ["ps", "--all", *listed, f"label={docker.CONTAINER_LABEL}={run}"],
        ["rm", "--force", "--volumes", "0123abc"],
        ["image", "ls", *listed, f"label={docker.IMAGE_LABEL}={run}"],
        ["image", "rm", "--force", "sha256:1"],
        ["image", "rm", f"mlflow-bridge-{run}:unlabelled"],
        ["image", "rm", "r.example/iris@sha256:5f"],
    ]
    assert not workspace.folder.exists()


@contextmanager
def started(run: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a program of the job `run` that doesn't end."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, env={docker.RUN: run}, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()
