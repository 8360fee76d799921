"""Real processes on 127.0.0.1: one MLflow server for all tests; see also `tests.loopback.servers`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from bridge.mlflow.client import MlflowApi
from tests.integration import actions_packages
from tests.loopback.github.limits import Limits
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer, MlflowServer

SECRET = "sentinel-secret-of-the-webhook"
TOKEN = "ghp_sentineltokenofthebridge"
REPOSITORY = "owner/models"

Create = Callable[..., dict[str, Any]]
"""Posts to a path of MLflow's REST API and returns the answer."""


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def mlflow_api(mlflow_server: MlflowServer) -> Iterator[MlflowApi]:
    with MlflowApi(mlflow_server.url) as api:
        yield api


@pytest.fixture(scope="session")
def create(mlflow_server: MlflowServer) -> Create:
    """Creates models and versions, and sets aliases."""

    def post(path: str, **body: object) -> dict[str, Any]:
        answer = httpx2.post(f"{mlflow_server.url}/api/2.0/mlflow/{path}", json=body, trust_env=False, timeout=30)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content

    return post


@pytest.fixture
def model_name() -> str:
    """A name that needs encoding everywhere, and that no other test uses."""
    return f'模型 (EU) & ü?#%2F+"\\ {uuid4().hex[:8]}'


@pytest.fixture
def registered(create: Create, model_name: str) -> str:
    """The id of the logged model of a model with that name and version 1."""
    logged = create("logged-models", experiment_id="0", name="m")["model"]["info"]["model_id"]
    create("registered-models/create", name=model_name)
    create("model-versions/create", name=model_name, source=f"models:/{logged}", model_id=logged)
    return str(logged)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of one bridge: its ledger and its log."""
    return tmp_path / "bridge"


@pytest.fixture
def github(tmp_path: Path) -> Iterator[LoopbackGitHub]:
    """A GitHub with this project's own workflows, without a runner and without limits."""
    with LoopbackGitHub(
        repository=REPOSITORY,
        tree=Path(__file__).parents[2],
        token=TOKEN,
        folder=tmp_path / "github",
        limits=Limits(requests_an_hour=10**6, content_a_minute=10**6, content_an_hour=10**6),
    ) as github:
        yield github


def bridge_settings(github: LoopbackGitHub) -> dict[str, str]:
    """Return the environment of a bridge as an operator would start it."""
    return {
        "MLFLOW_WEBHOOK_SECRET": SECRET,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_API_URL": github.url,
    }


@pytest.fixture
def settings(github: LoopbackGitHub) -> dict[str, str]:
    """The settings of a bridge that sends without pause."""
    return bridge_settings(github) | {"GITHUB_DISPATCH_INTERVAL": "0"}


@pytest.fixture
def bridge(settings: dict[str, str], folder: Path) -> Iterator[BridgeServer]:
    with BridgeServer(settings, folder) as server:
        yield server


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with GitHub's own packages for workflows."""
    return actions_packages.install(tmp_path_factory.mktemp("packages"))
