"""docs/setup.md, followed to the letter by somebody who has nothing but it: from a clone to a run that has ended."""

import os
import re
import secrets
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from bridge.settings import Settings
from tests.integration.conftest import REPOSITORY, TOKEN
from tests.integration.fast_bridge import FakeRunner
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import MlflowServer, free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "setup.md").read_text()
COMMANDS = re.findall(r"^    (\S.*)$", PAGE, re.MULTILINE)
MOST_COMMANDS = 8


class Newcomer:
    """Types what stands in the guide, with the names that are true here; a server goes on in another terminal."""

    def __init__(self, folder: Path, env: dict[str, str], names: dict[str, str]) -> None:
        self.folder = folder
        self.env = env
        self.names = names
        self.log = folder / "serve.log"
        self.open = ExitStack()

    def text(self, written: str) -> str:
        for name, true in self.names.items():
            written = written.replace(name, true)
        return written

    def type(self, command: str) -> None:
        words = self.text(command).split()
        if words[0] == "cd":
            self.folder /= words[1]
        elif words[-1] == "serve":
            self._serve(words)
        else:
            done = subprocess.run(words, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"

    def _serve(self, words: list[str]) -> None:
        process = subprocess.Popen(
            words, cwd=self.folder, env=self.env, stdout=self.open.enter_context(self.log.open("wb")), stderr=-2
        )
        self.open.callback(process.wait, PATIENCE)
        self.open.callback(process.terminate)
        until(lambda: "Uvicorn running" in self.log.read_text())


def test_by_the_guide_alone_eight_commands_lead_from_a_clone_to_a_build_that_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began, model, port = time.monotonic(), f"guide-{uuid4().hex[:8]}", free_port()
    ours = {name.upper() for name in Settings.model_fields}
    env = {name: value for name, value in os.environ.items() if name not in ours} | {"PYTHON": sys.executable}
    github = LoopbackGitHub(
        repository=REPOSITORY,
        tree=tmp_path / "models",
        token=TOKEN,
        folder=tmp_path / "github",
        runner=FakeRunner(),
        visible={"owner/mlflow-actions-bridge": False},
    )
    with MlflowServer(tmp_path / "mlflow") as mlflow_server, github:
        names = {
            "https://github.com/owner/mlflow-actions-bridge.git": str(ROOT),
            f"git clone {ROOT}": f"git clone --quiet {ROOT} mlflow-actions-bridge",
            "https://bridge.example.com": f"http://127.0.0.1:{port}",
            "https://mlflow.example.com": mlflow_server.url,
            "github_pat_…": TOKEN,
            "a-long-random-text": secrets.token_hex(24),
            "another-one": secrets.token_hex(24),
            "iris": model,
        }
        newcomer = Newcomer(tmp_path, env, names)
        subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", tmp_path / "models"], check=True)
        (settings,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        here = f"GITHUB_API_URL={github.url}\nHOST=127.0.0.1\nPORT={port}\nGITHUB_POLL_INTERVAL=1\n"
        with newcomer.open:
            for command in COMMANDS:
                if command.endswith("serve"):
                    (newcomer.folder / ".env").write_text(newcomer.text(settings) + here)
                if "follow" in command:
                    client = MlflowClient(mlflow_server.url)
                    client.create_registered_model(model)
                    client.create_model_version(model, "s3://bucket/model")
                newcomer.type(command)
        assert [each.client_payload["model"]["name"] for each in github.dispatches] == [model]
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\nfrom a clone to the end of the first run: {len(COMMANDS)} commands, {seconds:.0f} s")
    assert len(COMMANDS) <= MOST_COMMANDS
