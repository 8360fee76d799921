"""Every command and every snippet of the README runs, here or where `RUN_ELSEWHERE` says."""

import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import mlflow
import pytest

from bridge.demo.github import LoopbackGitHub
from bridge.demo.processes import BridgeServer, MlflowServer
from bridge.mlflow_api import MlflowApi
from tests.integration.conftest import REPOSITORY, TOKEN, Create
from tests.integration.deliveries import until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RUN_ELSEWHERE = {
    "make demo": "tests/e2e/test_demo.py",
    ".venv/bin/mlflow-bridge demo --keep": "tests/integration/test_demo.py",
    "make test": "what runs this test",
}
RUN_HERE = {"make setup", ".venv/bin/mlflow-bridge serve"}


def blocks(language: str) -> list[str]:
    """Give the fenced blocks of a language, without their indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", README, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_no_command_of_the_readme_goes_unrun() -> None:
    written = set(re.findall(r"^(?:    | *`?)((?:make|\.venv/bin/mlflow-bridge) [a-z-]+(?: --[a-z]+)*)", README, re.M))
    written |= set(re.findall(r"`((?:make|\.venv/bin/mlflow-bridge) [^`]+)`", README))
    assert written == RUN_HERE | set(RUN_ELSEWHERE)


def test_setup_ends_well() -> None:
    done = subprocess.run(["make", "setup"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_connecting_a_repository_by_the_readme_ends_in_a_dispatch(
    github: LoopbackGitHub, mlflow_server: MlflowServer, mlflow_api: MlflowApi, create: Create, folder: Path
) -> None:
    settings, commands = blocks("sh")
    assert commands.splitlines() == ["make setup", ".venv/bin/mlflow-bridge serve"]
    folder.mkdir()
    (folder / ".env").write_text(settings.replace("owner/name", REPOSITORY).replace("github_pat_…", TOKEN))
    with BridgeServer({"GITHUB_API_URL": github.url}, folder) as bridge:
        snippet = blocks("python")[0]
        snippet = snippet.replace("https://mlflow.example.com", mlflow_server.url)
        exec(snippet.replace("https://bridge.example.com", bridge.url), {})  # noqa: S102  the README's own
        create("registered-models/create", name=(name := f"readme {uuid.uuid4().hex}"))
        create("model-versions/create", name=name, source="s3://bucket/model")
        until(lambda: any(each.client_payload["model"]["name"] == name for each in github.dispatches))
    for webhook in mlflow.MlflowClient(mlflow_server.url).list_webhooks():
        httpx.delete(f"{mlflow_server.url}/api/2.0/mlflow/webhooks/{webhook.webhook_id}", trust_env=False)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_no_file_names_a_package_registry_or_a_path_of_this_machine() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    hosts = ("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org", "deb.debian" + ".org")
    forbidden = re.compile("|".join([*map(re.escape, hosts), r"(?<![\w.])/(?:work|root)/"]))
    found = [
        name
        for name in names.split("\0")
        if name and (ROOT / name).is_file() and forbidden.search((ROOT / name).read_text(errors="replace"))
    ]
    assert found == []


def test_the_command_is_where_the_readme_has_it() -> None:
    assert Path(sys.executable).with_name("mlflow-bridge").is_file()
    assert os.access(Path(sys.executable).with_name("mlflow-bridge"), os.X_OK)
