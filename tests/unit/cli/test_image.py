"""How a failed step is reported."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli import app


def test_a_failed_step_has_its_message_and_hint_in_an_annotation_and_escaped_in_the_summary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNNER_TEMP", str(tmp_path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("MODEL", "iris")
    monkeypatch.setenv("VERSION", "<b>7")
    monkeypatch.setattr("bridge.image.steps.resolve.check_programs", lambda: None)
    done = CliRunner().invoke(app, ["image", "resolve"])
    assert done.exit_code == 1
    (annotation,) = done.stdout.splitlines()
    assert annotation.startswith("::error title=resolve failed::version '<b>7' ")
    assert "%0AFix: " in annotation
    summary = (tmp_path / "summary").read_text()
    assert "<b>7" not in summary
    assert "Fix: " in summary


def test_the_clean_up_leaves_no_folder_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNNER_TEMP", str(tmp_path))
    monkeypatch.setattr("bridge.image.docker.remove_all_of", lambda _: None)
    monkeypatch.setattr("bridge.image.docker.remove", lambda _: None)
    assert CliRunner().invoke(app, ["image", "clean-up"]).exit_code == 0
    assert list(tmp_path.iterdir()) == []
