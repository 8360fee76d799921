"""What holds for every command: an example in its help, a quick start, completion."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bridge.cli import app


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    found = getattr(group, "commands", None)
    if found is None:
        yield path, group
        return
    for name, each in found.items():
        yield from commands(each, (*path, name))


EVERY = dict(commands(typer.main.get_command(app)))
FOR_PEOPLE = [path for path in EVERY if path[0] != "image"]
"""The steps of the workflow are called by the workflow alone."""


def test_the_commands_that_people_look_for_are_there() -> None:
    groups = {
        "webhook": ["create", "list", "test", "rotate"],
        "deliveries": ["list", "show", "replay", "follow"],
        "workflow": ["init"],
        "routes": ["check"],
    }
    wanted = {(group, name) for group, names in groups.items() for name in names}
    assert wanted | {("serve",), ("doctor",), ("reconcile",)} == set(FOR_PEOPLE)


@pytest.mark.parametrize("path", FOR_PEOPLE, ids=" ".join)
def test_a_commands_help_has_an_example_of_that_command(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert f"Example: mlflow-bridge {' '.join(path)}" in shown.stdout


@pytest.mark.parametrize("path", FOR_PEOPLE, ids=" ".join)
def test_an_example_has_only_options_that_the_command_has(path: tuple[str, ...]) -> None:
    command = EVERY[path]
    known = {option for parameter in command.params for option in parameter.opts}
    example = (command.epilog or "").split()
    assert {word for word in example if word.startswith("--")} <= known


def test_help_imports_nothing_that_only_commands_need() -> None:
    code = (
        "import sys, bridge.cli;"
        "heavy = {'mlflow', 'sqlalchemy', 'fastapi', 'uvicorn', 'jinja2', 'alembic', 'cryptography'};"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("module", ["doctor", "webhooks", "deliveries", "reconcile"])
def test_no_command_imports_mlflow(module: str) -> None:
    code = f"import sys, bridge.cli.{module}; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shell_completes_commands_and_options() -> None:
    for words, wanted in (("mlflow-bridge del", "deliveries"), ("mlflow-bridge deliveries list --st", "--state")):
        env = {"PATH": os.environ["PATH"], "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", "from bridge.cli import app; app(prog_name='mlflow-bridge')"],
            env=env | {"_MLFLOW_BRIDGE_COMPLETE": "complete_bash"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [wanted]


def test_settings_that_are_wrong_end_a_command_with_status_2() -> None:
    done = CliRunner().invoke(app, ["deliveries", "list"])
    assert done.exit_code == 2
    assert "GITHUB_REPOSITORY is not set" in done.stderr
    assert "Traceback" not in done.output


def test_follow_needs_to_know_what_to_follow() -> None:
    for words in ([], ["an-id", "--model", "iris"]):
        done = CliRunner().invoke(app, ["deliveries", "follow", *words])
        assert done.exit_code == 2
