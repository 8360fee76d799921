"""The log of a separate process, because pytest changes this one's."""

import json
import subprocess
import sys
from typing import Any

import pytest

CONFIGURED = """
import logging, warnings
import structlog
from bridge.server import logs
logs.configure({form!r})
log = structlog.get_logger("bridge.x")
"""


def logged(code: str, form: str = "json") -> list[str]:
    """Return the lines that a process logs that configures its log and runs the code."""
    command = [sys.executable, "-c", CONFIGURED.format(form=form) + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def logged_line(code: str) -> dict[str, Any]:
    (line,) = logged(code)
    read: dict[str, Any] = json.loads(line)
    return read


def test_a_line_is_one_json_object_with_time_level_logger_and_what_is_bound() -> None:
    line = logged_line("log.bind(dispatch_id='01J').info('dispatched', delivery_id='8f', model='a\\nb')")
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "dispatched",
        "level": "info",
        "logger": "bridge.x",
        "dispatch_id": "01J",
        "delivery_id": "8f",
        "model": "a\nb",
    }


def test_libraries_log_in_the_same_form() -> None:
    line = logged_line("logging.getLogger('uvicorn.error').warning('%s of\\n%s', 1, 2)")
    assert (line["event"], line["logger"], line["level"]) == ("1 of\n2", "uvicorn.error", "warning")


def test_pythons_warnings_are_logged_in_the_same_form() -> None:
    line = logged_line("warnings.warn('old')")
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "UserWarning: old" in line["event"]


def test_an_exception_is_one_line_without_the_values_of_variables() -> None:
    line = logged_line(
        "def call(token):\n  raise ValueError('no')\n"
        "try:\n  call('ghp_' + 'sentinel')\nexcept ValueError:\n  log.exception('failed', loop='dispatcher')"
    )
    assert line["loop"] == "dispatcher"
    assert line["exception"].endswith("ValueError: no")
    assert "ghp_sentinel" not in json.dumps(line)


@pytest.mark.parametrize("name", ["httpx2", "httpcore2.connection", "alembic.runtime.migration"])
def test_every_step_of_libraries_is_left_out(name: str) -> None:
    assert logged(f"logging.getLogger({name!r}).info('GET https://user:password@mlflow.example.com')") == []


def test_on_a_console_it_is_text() -> None:
    (line,) = logged("log.info('dispatched', delivery_id='8f')", form="console")
    assert "dispatched" in line
    assert "delivery_id=8f" in line
    assert "\x1b" not in line  # not a terminal


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\x9b2J", "a\u202eb", "a\u2028b", "\r"])
def test_a_name_can_not_move_a_terminals_cursor_or_end_its_line(text: str) -> None:
    for code in (f"log.info('delivery', model={text!r})", f"logging.getLogger('uvicorn.error').info({text!r})"):
        (line,) = logged(code, form="console")
        assert line.isprintable()
