"""A model whose files claim to be on another host, against a real MLflow server; used by the tests of this name."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx2

from tests.loopback.servers import MlflowServer
from tests.scripted_server import ScriptedServer
from tests.unit.image.fake_programs import Programs

TOKEN = "sentinel-token-of-mlflow"
FILES = {
    "MLmodel": b"mlflow_version: 3.14.0\nflavors: {python_function: {env: {virtualenv: python_env.yaml}}}\n",
    "python_env.yaml": b"python: 3.11.7\ndependencies: [-r requirements.txt]\n",
    "requirements.txt": b"mlflow==3.14.0\n",
    "data/empty": b"",
    "data/more/model ü+&=.bin": os.urandom(5_000_000),
    **{f"data/parts/{number}": str(number).encode() for number in range(40)},
}
WAYS = ("source", "run", "logged model")
"""How a version can name a host. MLflow 3.17 refuses the first way, and the others unless it is set to accept them."""


class AnyMlflow(MlflowServer):
    """A server of some release of MLflow, or of the installed one, that takes artifact addresses with a host."""

    def __init__(self, folder: Path, release: str = "") -> None:
        super().__init__(folder)
        self._env["MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES"] = "mlflow-artifacts"
        if release:
            uvx = Path(sys.executable).with_name("uvx")
            self._command[:3] = [str(uvx), "--quiet", "--from", f"mlflow=={release}", "mlflow"]

    def create(self, path: str, **body: object) -> dict[str, Any]:
        answer = httpx2.post(f"{self.url}/api/2.0/mlflow/{path}", json=body, trust_env=False, timeout=60)
        answer.raise_for_status()
        created: dict[str, Any] = answer.json()
        return created

    def register(self, root: str, by: str, files: Mapping[str, bytes] = {}) -> str:
        """Register a version whose files are below the artifact URI `root`; return the model's name."""
        name = f"model-{uuid4().hex}"
        self.create("registered-models/create", name=name)
        uri, version = root, {"source": root}
        if by != "source":
            experiment = self.create("experiments/create", name=name, artifact_location=root)["experiment_id"]
            if by == "run":
                run = self.create("runs/create", experiment_id=experiment)["run"]["info"]
                uri, version = run["artifact_uri"], {"source": run["artifact_uri"], "run_id": run["run_id"]}
            else:
                model = self.create("logged-models", experiment_id=experiment, name="m")["model"]["info"]
                uri, version = model["artifact_uri"], {"source": f"models:/{model['model_id']}"}
                version |= {"model_id": model["model_id"]}
        for path, content in files.items():
            url = f"{self.url}/api/2.0/mlflow-artifacts/artifacts{urlsplit(uri).path}/{quote(path)}"
            httpx2.put(url, content=content, trust_env=False, timeout=60).raise_for_status()
        self.create("model-versions/create", name=name, **version)
        return name


def run_step(step: str, url: str, model: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a step of the workflow for version 1 of the model, with a registry that holds nothing."""
    bin = folder / "bin"
    bin.mkdir(exist_ok=True)
    programs = Programs(bin)
    programs.say("skopeo", status=1, err="manifest unknown")
    programs.say("skopeo --version", "skopeo version 1.13.0")
    programs.say("docker", "28.0.4")
    programs.say("uv")  # MLflow's own packages can be installed
    env = {
        "PATH": str(bin),
        "HOME": str(folder),
        "MODEL": model,
        "VERSION": "1",
        "PUSH": "false",
        "DOCKER_REGISTRY": "r.example",
        "DOCKER_NAMESPACE": "demo",
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_TRACKING_TOKEN": TOKEN,
        "RUNNER_TEMP": str(folder),
        "GITHUB_OUTPUT": str(folder / "outputs"),
    }
    command = [sys.executable, "-m", "bridge", "image", step]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


def check_no_connection(mlflow: AnyMlflow, by: str, step: str, folder: Path) -> None:
    with ScriptedServer() as evil:
        model = mlflow.register(f"mlflow-artifacts://{evil.host}/x", by)
        result = run_step(step, mlflow.url, model, folder)
        assert evil.requests == []
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert result.stdout.count("::error title=") == 1
    assert TOKEN not in result.stdout + result.stderr


def check_downloads(mlflow: AnyMlflow, by: str, folder: Path, *, host: bool) -> None:
    root = f"mlflow-artifacts://{mlflow.url[7:] if host else ''}/{uuid4().hex} ok"
    model = mlflow.register(root, by, FILES)
    for step in ("resolve", "download"):
        result = run_step(step, mlflow.url, model, folder)
        assert result.returncode == 0, result.stdout + result.stderr
    model_folder = folder / "mlflow-bridge/model"
    files = {str(file.relative_to(model_folder)): file for file in model_folder.rglob("*") if file.is_file()}
    assert {path: file.read_bytes() for path, file in files.items()} == FILES
