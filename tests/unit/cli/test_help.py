"""What holds for every command: its help, which is in help.txt, a quick start, completion.

After a change of the help, write help.txt anew with `.venv/bin/python -m tests.unit.cli.test_help`, and read the diff.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bridge.cli import app

HELP = Path(__file__).with_name("help.txt")


def groups_and_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from groups_and_commands(child, (*path, name))


ALL = dict(groups_and_commands(typer.main.get_command(app)))
WITH_EXAMPLE = [path for path, command in ALL.items() if path[:1] != ("image",) and not hasattr(command, "commands")]
"""The commands for people. Those of the group `image` are only called by the workflow."""


def help_of_all_commands() -> str:
    texts = []
    for path in ALL:
        shown = CliRunner().invoke(app, [*path, "--help"], prog_name="mlflow-bridge", terminal_width=100)
        assert shown.exit_code == 0
        texts.append(f"$ {' '.join(('mlflow-bridge', *path))} --help\n{shown.stdout}")
    return "\n".join(texts)


def test_the_help_of_all_commands_is_the_reviewed_one() -> None:
    assert help_of_all_commands() == HELP.read_text()


@pytest.mark.parametrize("path", WITH_EXAMPLE, ids=" ".join)
def test_a_command_has_an_example_with_options_that_it_has(path: tuple[str, ...]) -> None:
    command = ALL[path]
    known = {option for parameter in command.params for option in parameter.opts}
    example = (command.epilog or "").split()
    assert example[: 2 + len(path)] == ["Example:", "mlflow-bridge", *path]
    assert {word for word in example if word.startswith("--")} <= known


def test_help_imports_nothing_that_only_commands_need() -> None:
    code = (
        "import sys, bridge.cli;"
        "heavy = {'mlflow', 'sqlalchemy', 'fastapi', 'uvicorn', 'jinja2', 'alembic', 'cryptography', 'httpx2', 'rich'};"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("module", ["doctor.checks", "mlflow.client", "cli.deliveries", "cli.reconcile"])
def test_no_command_imports_mlflow(module: str) -> None:
    code = f"import sys, bridge.{module}; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shell_completes_commands_and_options() -> None:
    for words, completed in (("mlflow-bridge del", "deliveries"), ("mlflow-bridge deliveries list --st", "--state")):
        env = {"PATH": os.environ["PATH"], "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", "from bridge.cli import app; app(prog_name='mlflow-bridge')"],
            env=env | {"_MLFLOW_BRIDGE_COMPLETE": "complete_bash"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [completed]


def test_settings_that_are_wrong_end_a_command_with_status_2() -> None:
    done = CliRunner().invoke(app, ["deliveries", "list"])
    assert done.exit_code == 2
    assert "GITHUB_REPOSITORY" in done.stderr
    assert "Traceback" not in done.output


def test_follow_needs_to_know_what_to_follow() -> None:
    for words in ([], ["an-id", "--model", "iris"]):
        done = CliRunner().invoke(app, ["deliveries", "follow", *words])
        assert done.exit_code == 2


if __name__ == "__main__":
    HELP.write_text(help_of_all_commands())
