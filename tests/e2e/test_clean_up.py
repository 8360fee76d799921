"""Steps that are killed as GitHub kills them leave nothing behind once the clean-up step has run, by a real engine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from bridge.image.builders.choice import LAYERED, Builder
from bridge.image.docker import CONTAINER_LABEL, IMAGE_LABEL, RUN
from bridge.image.labels import MODEL
from bridge.image.metadata import ModelMetadata
from bridge.image.workspace import Plan, Workspace
from tests.e2e.containers import Container, container, docker
from tests.e2e.workflow_stage import WorkflowStage, by_hand, ended, steps
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.stage import base_image, missing_for_images
from tests.waiting import PATIENCE, until

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
_PYTHON = base_image().removeprefix("python:").removesuffix("-slim")
_SILENT = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked", flush=True)
        time.sleep(600)
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def tools() -> Iterator[None]:
    """uv is beside this Python, and docker has its plugins, wherever the runs keep their configuration."""
    if lacking := missing_for_images():
        pytest.skip(lacking)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.delenv("DOCKER_CONFIG", raising=False)
        yield


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The workspace of a job whose download step is over."""
    workspace = Workspace(tmp_path / "mlflow-bridge")
    metadata = ModelMetadata("3.17.2", _PYTHON, has_serving_example=False)
    plan = Plan("m", "1", "models:/m-1", "", "r.example/m", "ping", metadata, Builder(LAYERED, wheels_only=True))
    workspace.write_plan(plan)
    workspace.model.mkdir()
    (workspace.model / "MLmodel").write_text("flavors: {python_function: {loader_module: nothing}}\n")
    (workspace.model / "python_env.yaml").write_text("dependencies: [-r requirements.txt]\n")
    (workspace.model / "requirements.txt").write_text("privately==1.0\n")
    return workspace


@contextmanager
def step(name: str, workspace: Workspace, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a step of the job as the workflow does."""
    env = os.environ | {"RUNNER_TEMP": str(workspace.folder.parent)} | variables
    command = [sys.executable, "-m", "bridge", "image", name]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def end(process: "subprocess.Popen[bytes]", first: signal.Signals) -> None:
    """Cancel a step as GitHub's runner does, beginning with the signal `first`."""
    for number, grace in ((signal.SIGINT, 7.5), (signal.SIGTERM, 2.5), (signal.SIGKILL, PATIENCE)):
        if number >= first or number == signal.SIGKILL:
            process.send_signal(number)
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                continue
            return


def clean_up(workspace: Workspace) -> None:
    with step("clean-up", workspace) as process:
        assert process.wait(PATIENCE) == 0


def left(run: str) -> list[str]:
    """Give what the job has on this machine: containers, images, and programs that carry its name."""
    containers = docker("ps", "--all", "--quiet", "--filter", f"label={CONTAINER_LABEL}={run}")
    images = docker("image", "ls", "--quiet", "--filter", f"label={IMAGE_LABEL}={run}")
    return containers.stdout.split() + images.stdout.split() + _with(f"{RUN}={run}")


def _with(text: str) -> list[str]:
    """Give the processes that have the text in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(str(path))
    return found


def built(run: str) -> str:
    """Build an image of the job `run` whose container never answers; give its id."""
    given = f'FROM {base_image()}\nCMD ["sleep", "600"]\n'
    command = ["docker", "build", "--quiet", "--label", f"{IMAGE_LABEL}={run}", "-"]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("first", SIGNALS)
def test_a_smoke_test_that_is_killed_leaves_no_container_no_image_and_no_program(
    first: signal.Signals, workspace: Workspace
) -> None:
    run, other = workspace.run, uuid4().hex
    workspace.write_image_id(built(run))
    theirs = built(other)
    with container(theirs, "--label", f"{CONTAINER_LABEL}={other}") as untouched:
        with step("smoke-test", workspace) as process:
            until(lambda: docker("ps", "--quiet", "--filter", f"label={CONTAINER_LABEL}={run}").stdout)
            end(process, first)
        clean_up(workspace)
        assert left(run) == []
        assert untouched.state["Running"]
        assert not workspace.model.exists()
    docker("image", "rm", theirs)


@contextmanager
def silent_index() -> Iterator[Container]:
    """Run a package index that answers nothing, in a container."""
    with container(base_image(), command=["python", "-c", _SILENT]) as index:
        yield index


def address(index: Container) -> str:
    where = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return docker("inspect", "--format", where, index.name).stdout.strip()


@pytest.mark.parametrize("first", SIGNALS)
def test_a_build_with_secrets_that_is_killed_leaves_no_secret_and_goes_on_nowhere(
    first: signal.Signals, workspace: Workspace
) -> None:
    run, password = workspace.run, uuid4().hex
    with silent_index() as index:
        url = f"http://user:{password}@{address(index)}:8000/simple"
        with step("build", workspace, PIP_INDEX_URL=url) as process:
            until(lambda: "asked" in index.logs)
            end(process, first)
        clean_up(workspace)
        assert left(run) == []
        until(lambda: not _with(password))
    kept = [*Path("/dev/shm").rglob("*"), *workspace.folder.parent.rglob("*")]
    assert [path for path in kept if path.is_file() and password.encode() in path.read_bytes()] == []
    assert not workspace.image.exists()


def test_a_run_that_is_cancelled_in_its_smoke_test_leaves_nothing_on_the_runner(workflows: WorkflowStage) -> None:
    """act kills the step at once where GitHub asks it first, and goes on with the steps that always run."""
    number = workflows.register("silent", silent=True)
    with workflows.github() as github:
        run = by_hand(github, model="silent", version=number)
        until(lambda: labelled("silent"))
        for process in acts(workflows.folder):
            os.kill(process, signal.SIGINT)
        run = ended(github, run)
    assert steps(run)["Smoke-test the image"] == "failure"
    assert steps(run)["Clean up the runner"] == "success"
    assert labelled("silent") == ""
    assert docker("image", "ls", "--quiet", f"{workflows.registry.host}/demo/silent").stdout == ""


STEPS = (
    "Sign in to read", "Resolve the version", "Download the model", "Build the image", "Smoke-test the image",
    "Sign in to write", "Push the image", "Write the image into MLflow", "Promote aliases", "Upload the result",
)  # fmt: skip


def test_a_run_that_is_cancelled_at_any_step_leaves_nothing_that_the_next_run_does_not_put_right(
    workflows: WorkflowStage,
) -> None:
    name = f"{workflows.registry.host}/demo/cancelled"
    number = workflows.register("cancelled")
    for alias in ("champion", "challenger", "stable"):
        workflows.client.set_registered_model_alias("cancelled", alias, number)
    with workflows.github() as github:
        for at in STEPS:
            run = by_hand(github, model="cancelled", version=number, force=True)
            until(partial(begun, github, at))
            for process in acts(workflows.folder):
                os.kill(process, signal.SIGINT)
            run = ended(github, run)
            assert labelled("cancelled") == "", at
            assert docker("image", "ls", "--quiet", name).stdout == "", at
            assert left_in(workflows.folder / "runner") == [], at
            assert steps(run)["Clean up the runner"] == (
                "success" if at != STEPS[0] else steps(run)["Clean up the runner"]
            )
        last = ended(github, by_hand(github, model="cancelled", version=number))
    assert last.conclusion == "success", last.failure
    tags = workflows.registry.tags(name)
    assert tags == dict.fromkeys([number, "champion", "challenger", "stable"], tags[number])
    with workflows.api() as api:
        assert api.version("cancelled", number).tags["image.uri"] == f"{name}@{tags[number]}"


def begun(github: LoopbackGitHub, name: str) -> bool:
    """Whether the newest run has begun a step, or is over."""
    run = github.runs[0]
    return run.status == "completed" or any(
        step.name == name and step.started_at for job in run.jobs for step in job.steps
    )


def left_in(folder: Path) -> list[Path]:
    """Return what the runner's folders have of a job: its workspace, and its sign-in to read."""
    return [path for path in folder.rglob("mlflow-bridge*") if path.name in ("mlflow-bridge", "mlflow-bridge-read")]


def labelled(model: str) -> str:
    """Return the ids of the containers of the model's jobs; a container has its image's labels."""
    labels = ("--filter", f"label={CONTAINER_LABEL}", "--filter", f"label={MODEL}={model}")
    return docker("ps", "--all", "--quiet", *labels).stdout


def acts(folder: Path) -> list[int]:
    """Give the processes of act that execute runs of that folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (path / "comm").read_text() == "act\n" and (path / "cwd").readlink().is_relative_to(folder):
                found.append(int(path.name))
    return found
