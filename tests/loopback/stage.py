"""The whole setup on this machine: MLflow, the bridge, a loopback GitHub, a registry."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bridge.core.errors import BridgeError
from bridge.mlflow.client import MlflowApi
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.registry import IMAGE, Registry
from tests.loopback.runner.act import ActRunner
from tests.loopback.servers import BridgeServer, MlflowServer

REPOSITORY = "demo/models"
EVENTS = ("model_version.created", "model_version_alias.created")
_CALLER = Path(".github/workflows/on-mlflow-event.yml")
_ACTIONS = Path("tests/e2e/actions")
_PING_SECONDS = 900.0
"""Seconds that an image may take until it serves its model, however busy the machine is."""


class NoCheckout(BridgeError):
    """The code is not in a checkout of the project."""


class NotServing(BridgeError):
    """A container didn't answer."""


@dataclass(frozen=True)
class Stage:
    """The running parts; `registry` is None if this machine can't build images."""

    folder: Path
    mlflow: MlflowServer
    bridge: BridgeServer
    github: LoopbackGitHub
    registry: Registry | None
    webhooks: tuple[str, ...]

    def api(self) -> MlflowApi:
        """Return a client of MLflow."""
        return MlflowApi(self.mlflow.url)

    def register(self, model: str, alias: str | None = None) -> dict[str, Any]:
        """Register a version of a small model; returns `version` and `registered` of `sample_model`."""
        command = [sys.executable, "-m", "tests.loopback.sample_model", model, *([alias] if alias else [])]
        env = os.environ | {"MLFLOW_TRACKING_URI": self.mlflow.url, "MLFLOW_DISABLE_TELEMETRY": "true"}
        result = subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BridgeError(f"the model {model!r} could not be registered: {result.stderr.strip()[-500:]}")
        return dict(json.loads(result.stdout.splitlines()[-1]))


@contextmanager
def stage(tree: Path, folder: Path, *, images: bool, more_secrets: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """Start everything, with its files in `folder`, and stop it at the end.

    `tree` is a checkout with the workflows. `images`: whether to execute runs, which needs Docker. `more_secrets`: the
    repository's secrets in addition to the registry's password.
    """
    secret, token = secrets.token_hex(16), f"ghp_{secrets.token_hex(18)}"
    with ExitStack() as stack:
        registry = stack.enter_context(Registry(folder / "registry")) if images else None
        mlflow = stack.enter_context(MlflowServer(folder / "mlflow"))
        github = stack.enter_context(
            LoopbackGitHub(
                repository=REPOSITORY,
                tree=tree,
                token=token,
                folder=folder / "github",
                runner=new_runner(tree, folder) if images else None,
                variables={
                    "MLFLOW_TRACKING_URI": mlflow.url,
                    "DOCKER_REGISTRY": registry.host if registry else "",
                    "DOCKER_NAMESPACE": "demo",
                    "DOCKER_USERNAME": Registry.user,
                },
                secrets=({"DOCKER_REGISTRY_PASSWORD": registry.password} if registry else {})
                | dict(more_secrets or {}),
            )
        )
        settings = {
            "MLFLOW_WEBHOOK_SECRET": secret,
            "GITHUB_TOKEN": token,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": github.url,
        }
        bridge = stack.enter_context(BridgeServer(settings, folder / "bridge"))
        with MlflowApi(mlflow.url) as api:
            webhook = api.create_webhook("bridge", f"{bridge.url}/webhook", EVENTS, secret)
        yield Stage(folder, mlflow, bridge, github, registry, (webhook,))


def missing_for_images() -> str | None:
    """Return in one line what is missing to build images on this machine, or None."""
    for program, hint in (("docker", "install Docker"), ("skopeo", "install skopeo"), ("git", "install git")):
        if not shutil.which(program):
            return f"{program} is not on the PATH: {hint}"
    if not _docker("info"):
        return "Docker does not respond: start Docker"
    if not shutil.which("docker-registry") and not _is_available(IMAGE):
        return f"neither the program docker-registry nor the image {IMAGE} is available: install one of them"
    if not _is_available(base_image()):
        return (
            f"the base image {base_image()} is not available: pull it, or use a Python version whose image is available"
        )
    return None


def base_image() -> str:
    """Return MLflow's base image for models that this Python logs."""
    return f"python:{'.'.join(str(part) for part in sys.version_info[:3])}-slim"


def checkout() -> Path:
    """Return the checkout of the project that this code is in. Raises `NoCheckout`."""
    tree = Path(__file__).resolve().parents[2]
    if not (tree / _CALLER).is_file():
        raise NoCheckout(f"{tree} has no {_CALLER}", "run this from a checkout of the project")
    return tree


@contextmanager
def serving(registry: Registry, reference: str, folder: Path) -> Iterator[str]:
    """Pull an image from the registry, run it, and yield its address once /ping answers. Raises `NotServing`.

    `folder` is for Docker's sign-in. The container is removed at the end.
    """
    env = os.environ | _engine() | {"DOCKER_CONFIG": str(folder)}
    _output(env, "login", "--username", registry.user, "--password-stdin", registry.host, stdin=registry.password)
    _output(env, "pull", "--quiet", reference)
    container = _output(env, "run", "--detach", "--publish", "127.0.0.1::8080", reference)
    try:
        url = f"http://{_output(env, 'port', container, '8080').splitlines()[0]}"
        if not _answers_ping(url):
            state = _output(env, "inspect", "--format", "{{json .State}}", container)
            log = _output(env, "logs", "--tail", "50", container)
            raise NotServing(f"{reference} did not answer /ping within {_PING_SECONDS:.0f} s: {state}\n{log}")
        yield url
    finally:
        _docker("rm", "--force", "--volumes", container)


def remove_images(host: str) -> None:
    """Remove the images of the registry `host` from the engine."""
    listed = subprocess.run(
        ["docker", "images", "--quiet", "--no-trunc", "--filter", f"reference={host}/*/*"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    for image in sorted(set(listed.stdout.split())):
        _docker("image", "rm", "--force", image)


def new_runner(tree: Path, folder: Path, environment: Mapping[str, str] | None = None) -> ActRunner:
    """Return a runner whose steps find uv beside this Python, and the plugins of the user's Docker.

    `environment` is added to its variables.
    """
    plugins = Path.home() / ".docker/cli-plugins"
    runner = folder / "runner"
    (runner / "docker").mkdir(parents=True, exist_ok=True)
    if plugins.is_dir():
        (runner / "docker/cli-plugins").symlink_to(plugins)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return ActRunner(runner, actions=tree / _ACTIONS, environment={"PATH": path, **_engine(), **(environment or {})})


def _engine() -> dict[str, str]:
    """Return the DOCKER_HOST of the user's current context; the runs' own configuration has no contexts."""
    command = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    host = os.environ.get("DOCKER_HOST") or subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {"DOCKER_HOST": host.strip()} if host.strip() else {}


def _answers_ping(url: str) -> bool:
    deadline = time.monotonic() + _PING_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx2.HTTPError):
            if httpx2.get(f"{url}/ping", timeout=5.0, trust_env=False).status_code == 200:
                return True
        time.sleep(0.2)
    return False


def _output(env: Mapping[str, str], *arguments: str, stdin: str = "") -> str:
    """Return docker's output, or its stderr if there is none, as for `logs`. Raises `NotServing`."""
    result = subprocess.run(["docker", *arguments], env=env, input=stdin, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NotServing(f"docker {arguments[0]} failed: {result.stderr.strip()[-300:]}")
    return (result.stdout or result.stderr).strip()


def _is_available(image: str) -> bool:
    """Return whether an image is here or can be pulled."""
    return _docker("image", "inspect", image) or _docker("pull", "--quiet", image)


def _docker(*arguments: str) -> bool:
    result = subprocess.run(["docker", *arguments], capture_output=True, check=False)
    return result.returncode == 0
