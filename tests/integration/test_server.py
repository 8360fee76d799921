"""The process around the application: how it starts, and how it ends if it can't."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback.servers import BridgeServer
from tests.waiting import PATIENCE


def serve(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge", "serve"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_wrong_settings_end_the_process_with_status_2_and_one_message(tmp_path: Path) -> None:
    ended = serve(tmp_path, GITHUB_TOKEN="sentinel token", PORT="sentinel", MLFLOW_WEBHOOK_SECRET="sentinel")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert [line.split()[0] for line in ended.stderr.splitlines()] == ["GITHUB_REPOSITORY", "PORT", "GITHUB_TOKEN"]
    assert "sentinel" not in ended.stderr


def test_a_ledger_that_cannot_be_opened_ends_the_process_and_is_named(tmp_path: Path, settings: dict[str, str]) -> None:
    ended = serve(tmp_path, **settings, HOST="127.0.0.1", PORT="0", DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/x.db")
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "DATABASE_URL" in ended.stderr


def test_the_process_starts_small_and_stops_when_told(bridge: BridgeServer) -> None:
    status = Path(f"/proc/{bridge.pid}/status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0])
    print(f"start: {bridge.seconds_to_start:.2f} s, {resident} KiB")
    assert resident < 100 * 1024
    bridge.stop()
    assert "Finished server process" in bridge.log.read_text()


def test_a_weak_setting_is_a_warning_at_the_start(settings: dict[str, str], folder: Path) -> None:
    with BridgeServer(settings | {"ADMIN_PASSWORD": "sentinel"}, folder) as bridge:
        lines = [json.loads(line) for line in bridge.log.read_text().splitlines()]
    weaknesses = [(line["level"], line["setting"]) for line in lines if line["event"] == "weak setting"]
    assert ("warning", "ADMIN_PASSWORD") in weaknesses


def test_a_sample_of_the_documentation_ends_the_process_with_status_2(tmp_path: Path, settings: dict[str, str]) -> None:
    ended = serve(tmp_path, **settings | {"MLFLOW_WEBHOOK_SECRET": "a-long-random-text"})
    assert ended.returncode == 2
    assert [line.split()[0] for line in ended.stderr.splitlines()] == ["MLFLOW_WEBHOOK_SECRET"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_both_forms_of_log_report_the_start(settings: dict[str, str], folder: Path, form: str) -> None:
    with BridgeServer({**settings, "LOG_FORMAT": form}, folder) as bridge:
        assert "bridge started" in bridge.log.read_text()
        assert bridge.log.read_text().startswith("{") == (form == "json")
