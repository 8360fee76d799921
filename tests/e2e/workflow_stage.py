"""MLflow, a registry, and GitHubs that run the real workflow with act, without a bridge: tests start the runs.

MLflow's builder takes a minute, so `uvx` is a fake that builds a small image with a server. All else is real.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow
import pytest

from bridge.mlflow.client import MlflowApi
from tests.loopback.github.runs import Run
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.registry import Registry
from tests.loopback.runner.act import ActRunner
from tests.loopback.runner.checkout import copy
from tests.loopback.servers import MlflowServer
from tests.loopback.stage import REPOSITORY, base_image, checkout, missing_for_images, new_runner, remove_images

_PYTHON = ".".join(str(part) for part in sys.version_info[:3])
_BUILDER = """\
#!{python}
import json, pathlib, shutil, subprocess, sys, tempfile
words = sys.argv[1:]
with open({calls!r}, "a") as calls:
    print(json.dumps(words), file=calls)
model, image = words[words.index("-m") + 1], words[words.index("-n") + 1]
with tempfile.TemporaryDirectory() as folder:
    shutil.copytree(model, folder + "/model")
    pathlib.Path(folder, "serve.py").write_text({serve!r})
    pathlib.Path(folder, "Dockerfile").write_text(
        "FROM {base}\\nCOPY model /opt/ml/model\\nCOPY serve.py /\\nCMD [\\"python\\", \\"/serve.py\\"]\\n"
    )
    sys.exit(subprocess.run(["docker", "build", "--tag", image, folder]).returncode)
"""
_SERVE = """\
import os, time
while os.path.exists("/opt/ml/model/silent"):
    time.sleep(1)
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", 8080), Answer).serve_forever()
"""


@dataclass(frozen=True)
class WorkflowStage:
    """The running parts; all runs share the HOME and the sign-in of `runner`."""

    folder: Path
    mlflow: MlflowServer
    registry: Registry
    runner: ActRunner

    @property
    def docker_config(self) -> Path:
        """The folder for the sign-in of this process's Docker; the runs have another."""
        return self.folder / "docker"

    @property
    def builds(self) -> list[list[str]]:
        """The arguments of each call of MLflow's builder."""
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    @property
    def client(self) -> Any:
        return mlflow.MlflowClient(tracking_uri=self.mlflow.url)

    def api(self) -> MlflowApi:
        return MlflowApi(self.mlflow.url)

    @contextmanager
    def github(self, *, host: str = "", tree: Path | None = None, **secrets: str) -> Iterator[LoopbackGitHub]:
        """Start a GitHub; `host` is the registry's address for its runs, `secrets` are added to its password."""
        with LoopbackGitHub(
            repository=REPOSITORY,
            tree=tree or checkout(),
            token=f"ghp_{uuid4().hex}",
            folder=self.folder / f"github-{uuid4().hex[:8]}",
            runner=self.runner,
            variables={
                "MLFLOW_TRACKING_URI": self.mlflow.url,
                "DOCKER_REGISTRY": host or self.registry.host,
                "DOCKER_NAMESPACE": "demo",
                "DOCKER_USERNAME": self.registry.user,
            },
            secrets={"DOCKER_REGISTRY_PASSWORD": self.registry.password} | secrets,
        ) as github:
            yield github

    def register(self, name: str, *, size: int = 1000, silent: bool = False) -> str:
        """Register a version with the files that a build needs; returns its number. A silent one never answers."""
        folder = self.folder / f"model-{uuid4().hex[:8]}"
        folder.mkdir()
        (folder / "MLmodel").write_text(
            "flavors:\n  python_function:\n    loader_module: nothing\n    env: {virtualenv: python_env.yaml}\n"
            f"mlflow_version: {mlflow.__version__}\n"
        )
        (folder / "python_env.yaml").write_text(f"python: {_PYTHON}\n")
        (folder / "weights").write_bytes(os.urandom(size))
        if silent:
            (folder / "silent").touch()
        run = self.client.create_run("0").info
        self.client.log_artifacts(run.run_id, str(folder), "model")
        return self.new_version(name, f"{run.artifact_uri}/model", run.run_id)

    def new_version(self, name: str, source: str, run_id: str | None = None) -> str:
        """Register a version with that source, and the model if it is missing; returns the version's number."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return str(self.client.create_model_version(name, source, run_id).version)

    def sign_in(self) -> None:
        """Sign this process's Docker in to the registry, in the folder DOCKER_CONFIG."""
        command = ["docker", "login", "--username", self.registry.user, "--password-stdin", self.registry.host]
        subprocess.run(command, input=self.registry.password, text=True, check=True, capture_output=True)


def tree_with(folder: Path, **inputs: str) -> Path:
    """Copy the checkout to `folder`, and add these inputs in YAML to its caller workflow; returns the copy."""
    copy(checkout(), folder, REPOSITORY)
    caller = folder / ".github/workflows/on-mlflow-event.yml"
    lines = "".join(f"      {name.replace('_', '-')}: {value}\n" for name, value in inputs.items())
    caller.write_text(caller.read_text().replace("    with:\n", f"    with:\n{lines}"))
    return folder


def by_hand(github: LoopbackGitHub, **inputs: Any) -> Run:
    """Start a run by hand; returns its first state."""
    workflow = next(each for each in github.workflows if each.path.endswith("on-mlflow-event.yml"))
    return github.workflow_dispatch(workflow, {"ref": "main", "inputs": inputs})


def dispatch(github: LoopbackGitHub, model: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> Run:
    """Start a run as the bridge does; returns its first state."""
    ids = {"schema": 1, "dispatch_id": uuid4().hex, "delivery_id": uuid4().hex, "event": "model_version.created"}
    payload = {**ids, "model": dict(model), "inputs": dict(inputs or {})}
    github.repository_dispatch({"event_type": "mlflow-model-version", "client_payload": payload})
    return github.runs[0]


def ended(github: LoopbackGitHub, run: Run) -> Run:
    """Return the run once it is completed."""
    return github.wait(run)


def steps(run: Run) -> dict[str, str | None]:
    """Return the conclusion of each step of the job that builds the image."""
    (job,) = (job for job in run.jobs if job.name.endswith("image"))
    return {step.name: step.conclusion for step in job.steps}


def ended_in(run: Run) -> str:
    """Return the name of the step that failed; empty if none did."""
    failed = [name for name, conclusion in steps(run).items() if conclusion == "failure"]
    assert len(failed) < 2, failed
    return "".join(failed)


def has_built(run: Run) -> bool:
    """Whether the run has built and smoke-tested an image."""
    return steps(run)["Smoke-test the image"] == "success"


def annotations(run: Run, level: str) -> list[str]:
    """Give what the run's page says at that level."""
    # Message and hint, which are two lines, as in the error's own text.
    return [
        each.message.replace("\nFix: ", ": ") for job in run.jobs for each in job.annotations if each.level == level
    ]


@contextmanager
def started(folder: Path, tree: Path) -> Iterator[WorkflowStage]:
    """Start a stage in `folder`; its runs use the actions of the tests in `tree`, a checkout."""
    builder = folder / "bin" / "uvx"
    builder.parent.mkdir(parents=True)
    calls = str(folder / "calls")
    builder.write_text(_BUILDER.format(python=sys.executable, serve=_SERVE, base=base_image(), calls=calls))
    builder.chmod(0o755)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        registry = stack.enter_context(Registry(folder / "registry"))
        server = stack.enter_context(MlflowServer(folder / "mlflow"))
        path = os.pathsep.join((str(builder.parent), str(Path(sys.executable).parent), os.environ["PATH"]))
        runner = new_runner(tree, folder, {"PATH": path})
        patch.setenv("DOCKER_CONFIG", str(folder / "docker"))
        yield WorkflowStage(folder, server, registry, runner)
        remove_images(registry.host)


@pytest.fixture(scope="session")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkflowStage]:
    """One stage for all tests."""
    if missing := missing_for_images():
        pytest.skip(missing)
    with started(tmp_path_factory.mktemp("workflow-stage"), checkout()) as stage:
        yield stage
