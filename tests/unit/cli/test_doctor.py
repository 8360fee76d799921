import json

import pytest
from pydantic import SecretStr

import bridge.cli.doctor as doctor
from bridge.core.findings import Finding, FindingState, failed, ok, told, unknown, warning
from bridge.settings import Settings


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    settings = Settings(
        github_repository="o/n", github_token=SecretStr("ghp_sentinel"), mlflow_webhook_secret=SecretStr("sentinel-w")
    )
    findings = [ok("ledger", "", "fine"), warning("token", "T", "soon", "renew it"), unknown("actions", "o/n", "?")]

    async def examine(url: str | None) -> tuple[Settings, list[Finding]]:
        return settings, findings

    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.setenv("COLUMNS", "120")
    return findings


def test_nothing_that_fails_ends_with_status_0(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(None, as_json=False) == 0
    out = capsys.readouterr().out
    assert "! warning" in out
    assert "→ renew it" in out
    assert out.splitlines()[-1] == "1 ok, 1 warning, 1 could not check"


def test_one_that_fails_ends_with_status_1(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    found.append(failed("workflow", "o/n", "missing", "write it"))
    assert doctor.run(None, as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert said["findings"][-1] == {
        "state": "failed",
        "check": "workflow",
        "subject": "o/n",
        "message": "missing",
        "hint": "write it",
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_a_secret_that_a_server_repeats_is_taken_out(
    found: list[Finding], as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found.append(failed("x", "ghp_sentinel", "token ghp_sentinel and sentinel-w", "not sentinel-w"))
    doctor.run(None, as_json=as_json)
    assert "sentinel" not in capsys.readouterr().out


def test_no_answer_of_a_server_moves_the_terminals_cursor(
    found: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    found.append(failed("x", "a\x1b[2J", "b\nc", ""))
    doctor.run(None, as_json=True)
    assert json.loads(capsys.readouterr().out)["findings"][-1]["subject"] == "a [2J"


def test_an_errors_message_is_parted_into_what_was_seen_and_its_mend() -> None:
    finding = told("mlflow", "", "MLflow at http://m:5000 can't be reached (ConnectError): check A (or B: use C)")
    assert finding.state is FindingState.FAILED
    assert finding.message == "MLflow at http://m:5000 can't be reached (ConnectError)"
    assert finding.hint == "check A (or B: use C)"
    assert told("s", "", "X is not set: set it").hint == "set it"
    assert told("s", "", "no mend").hint == ""
