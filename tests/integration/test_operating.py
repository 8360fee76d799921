"""The commands, routes and metrics of docs/operating.md work."""

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

import httpx2
import pytest
from typer.testing import CliRunner

from bridge.cli import app
from tests.integration.deliveries import ALIAS, VALID, body, post
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer
from tests.waiting import until

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
NEW = "another-secret-of-the-webhook"
RUN_IN = {
    ".venv/bin/mlflow-bridge deliveries list": "test_commands.py",
    ".venv/bin/mlflow-bridge deliveries replay ID": "test_commands.py",
    ".venv/bin/mlflow-bridge deliveries show ID": "test_commands.py",
    ".venv/bin/mlflow-bridge doctor": "test_doctor.py",
    ".venv/bin/mlflow-bridge reconcile --since 2026-01-31": "test_commands.py",
    ".venv/bin/mlflow-bridge reconcile --since 2026-01-31 --dry-run": "test_commands.py",
    ".venv/bin/mlflow-bridge routes check EVENT.json": "test_operating.py",
    ".venv/bin/mlflow-bridge serve --since 2026-01-31": "test_reconciling.py",
    ".venv/bin/mlflow-bridge webhook list": "test_commands.py",
    ".venv/bin/mlflow-bridge webhook rotate": "test_commands.py",
    ".venv/bin/mlflow-bridge webhook test": "test_commands.py",
}


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def test_a_champion_of_fraud_goes_out_by_both_routes_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.toml").write_text(block("toml"))
    (tmp_path / "EVENT.json").write_bytes(body("model_version_alias.created", ALIAS | {"name": "fraud-eu"}))
    (command,) = re.findall(r"`\.venv/bin/mlflow-bridge (routes check [^`]+)`", PAGE)
    result = CliRunner().invoke(app, [*command.split(), "--routes", "routes.toml", "--json"])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == len(tomllib.loads(block("toml"))["route"]) == 2


def test_a_backup_made_while_the_bridge_runs_can_be_restored(
    settings: dict[str, str], github: LoopbackGitHub, folder: Path
) -> None:
    command = shlex.split(block("sh"))
    assert command[:2] == [".venv/bin/python", "-c"]
    with BridgeServer(settings, folder) as bridge:
        first = post(bridge.url, VALID[0])
        subprocess.run([sys.executable, *command[1:]], cwd=folder, check=True)
        post(bridge.url, VALID[1])
    for file in folder.glob("mlflow-bridge.db*"):
        file.unlink()
    shutil.move(folder / "backup.db", folder / "mlflow-bridge.db")
    with BridgeServer(settings, folder), closing(sqlite3.connect(folder / "mlflow-bridge.db")) as ledger:
        assert ledger.execute("select id from deliveries").fetchall() == [(first.json()["delivery_id"],)]
        until(lambda: len(github.dispatches) >= 1)


def test_during_a_rotation_both_secrets_are_accepted_and_afterwards_only_the_new_one(
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


def test_every_metric_of_the_page_exists(settings: dict[str, str], folder: Path) -> None:
    names = set(re.findall(r"`(mlflow_bridge_[a-z_]+)", PAGE))
    with BridgeServer(settings, folder) as bridge:
        text = httpx2.get(f"{bridge.url}/metrics", trust_env=False).text
    assert names
    assert {name for name in names if f"# TYPE {name} " not in text} == set()


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    assert set(re.findall(r"`(\.venv/bin/mlflow-bridge [^`]+)`", PAGE)) == set(RUN_IN)
    assert all((Path(__file__).parent / test).is_file() for test in RUN_IN.values())
