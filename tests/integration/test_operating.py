"""What docs/operating.md tells operators to do works."""

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from bridge.cli import app
from tests.integration.deliveries import ALIAS, VALID, body, post
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer
from tests.waiting import until

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
NEW = "another-secret-of-the-webhook"


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_routes_of_the_page_send_a_champion_of_fraud_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.toml").write_text(block("toml"))
    (tmp_path / "EVENT.json").write_bytes(body("model_version_alias.created", ALIAS | {"name": "fraud-eu"}))
    (command,) = re.findall(r"`\.venv/bin/mlflow-bridge (routes check [^`]+)`", PAGE)
    done = CliRunner().invoke(app, [*command.split(), "--routes", "routes.toml", "--json"])
    assert done.exit_code == 0, done.output
    sent = json.loads(done.stdout)
    assert len(sent) == len(tomllib.loads(block("toml"))["route"]) == 2


def test_a_backup_made_while_the_bridge_runs_restores_what_it_had(
    settings: dict[str, str], github: LoopbackGitHub, folder: Path
) -> None:
    command = shlex.split(block("sh"))
    assert command[:2] == [".venv/bin/python", "-c"]
    with BridgeServer(settings, folder) as bridge:
        first = post(bridge.url, VALID[0])
        subprocess.run([sys.executable, *command[1:]], cwd=folder, check=True)
        post(bridge.url, VALID[1])
    for left in folder.glob("mlflow-bridge.db*"):
        left.unlink()
    shutil.move(folder / "backup.db", folder / "mlflow-bridge.db")
    with BridgeServer(settings, folder), closing(sqlite3.connect(folder / "mlflow-bridge.db")) as ledger:
        assert ledger.execute("select id from deliveries").fetchall() == [(first.json()["delivery_id"],)]
        until(lambda: len(github.dispatches) >= 1)


def test_during_a_change_of_the_secret_both_are_taken_and_afterwards_the_new_one_alone(
    settings: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = settings | {
        "MLFLOW_WEBHOOK_SECRET": NEW,
        "MLFLOW_WEBHOOK_SECRET_PREVIOUS": settings["MLFLOW_WEBHOOK_SECRET"],
    }
    with BridgeServer(changing, folder) as bridge:
        assert post(bridge.url, VALID[0]).status_code == 202
        monkeypatch.setattr("tests.integration.deliveries.SECRET", NEW)
        assert post(bridge.url, VALID[1]).status_code == 202
        monkeypatch.undo()
    with BridgeServer(settings | {"MLFLOW_WEBHOOK_SECRET": NEW}, folder) as bridge:
        assert post(bridge.url, VALID[0]).status_code == 401


def test_the_metrics_that_the_page_names_are_there(settings: dict[str, str], folder: Path) -> None:
    names = set(re.findall(r"`(mlflow_bridge_[a-z_]+)", PAGE))
    with BridgeServer(settings, folder) as bridge:
        text = httpx.get(f"{bridge.url}/metrics", trust_env=False).text
    assert names
    assert {name for name in names if f"# TYPE {name} " not in text} == set()


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    commands = set(re.findall(r"`(\.venv/bin/mlflow-bridge [^`]+)`", PAGE))
    assert commands == {
        ".venv/bin/mlflow-bridge doctor",  # test_doctor.py
        ".venv/bin/mlflow-bridge reconcile --since 2026-01-31 --dry-run",  # test_commands.py
        ".venv/bin/mlflow-bridge routes check EVENT.json",  # here
        ".venv/bin/mlflow-bridge serve --since 2026-01-31",  # test_reconciling.py
        ".venv/bin/mlflow-bridge webhook rotate",  # test_commands.py
    }
