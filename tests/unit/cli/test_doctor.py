import json

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.core.findings import Finding, failed, ok, unknown, warning
from bridge.settings import Settings


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the checks found; a test may add to it."""
    settings = Settings(
        github_repository="o/n", github_token=SecretStr("ghp_sentinel"), mlflow_webhook_secret=SecretStr("sentinel-w")
    )
    findings = [ok("ledger", "", "fine"), warning("token", "T", "soon", "renew it"), unknown("actions", "o/n", "?")]

    async def run_checks(url: str | None) -> tuple[Settings, list[Finding]]:
        return settings, findings

    monkeypatch.setattr("bridge.doctor.checks.run_checks", run_checks)
    monkeypatch.setenv("COLUMNS", "120")
    return findings


def doctor(*options: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *options])


def test_warnings_end_with_status_0(findings: list[Finding]) -> None:
    done = doctor()
    assert done.exit_code == 0
    assert "! warning" in done.stdout
    assert "→ renew it" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 ok, 1 warning, 1 could not check"


def test_a_failed_check_ends_with_status_1(findings: list[Finding]) -> None:
    findings.append(failed("workflow", "o/n", "missing", "write it"))
    done = doctor("--json")
    assert done.exit_code == 1
    printed = json.loads(done.stdout)
    assert printed["ok"] is False
    assert printed["findings"][-1] == {
        "state": "failed",
        "check": "workflow",
        "subject": "o/n",
        "message": "missing",
        "hint": "write it",
    }


@pytest.mark.parametrize("options", [["--json"], []])
def test_a_secret_that_a_server_repeats_is_removed(findings: list[Finding], options: list[str]) -> None:
    findings.append(failed("x", "ghp_sentinel", "token ghp_sentinel and sentinel-w", "not sentinel-w"))
    assert "sentinel" not in doctor(*options).output


def test_no_answer_of_a_server_moves_the_terminals_cursor(findings: list[Finding]) -> None:
    findings.append(failed("x", "a\x1b[2J", "b\nc", ""))
    assert json.loads(doctor("--json").stdout)["findings"][-1]["subject"] == "a [2J"
