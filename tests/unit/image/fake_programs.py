"""Fake programs for the steps to run: they record each call, and answer as the test specifies."""

import json
import sys
from pathlib import Path
from typing import Any

_PROGRAM = """\
#!{python}
import json, os, pathlib, sys
here, name = pathlib.Path({folder!r}), {name!r}
stdin = sys.stdin.read() if not sys.stdin.isatty() else ""
with (here / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([name, sys.argv[1:], dict(os.environ), stdin]) + "\\n")
words = [sys.argv[-1].replace("/", "_"), sys.argv[1]]
answers = [*(here / f"{{name}} {{word}}.json" for word in words), here / f"{{name}}.json"]
status, out, err = json.loads(next(answer for answer in answers if answer.exists()).read_text())
sys.stdout.write(out); sys.stderr.write(err); sys.exit(status)
"""


class Programs:
    """Programs in one folder, to be put on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def say(self, called: str, out: str = "", *, status: int = 0, err: str = "") -> None:
        """Let a program (`docker`), or one of its commands (`docker push`), end like this from now on."""
        (self.folder / f"{called}.json").write_text(json.dumps([status, out, err]))
        name = called.split()[0]
        program = self.folder / name
        program.write_text(_PROGRAM.format(python=sys.executable, folder=str(self.folder), name=name))
        program.chmod(0o755)

    def answer(self, name: str, last: str, out: str) -> None:
        """Let the program print `out` if its last argument is `last`."""
        self.say(f"{name} {last.replace('/', '_')}", out)

    @property
    def calls(self) -> list[tuple[str, list[str], dict[str, str], str]]:
        """Return name, arguments, environment and standard input of each call."""
        file = self.folder / "calls.jsonl"
        lines: list[Any] = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [(name, arguments, env, stdin) for name, arguments, env, stdin in lines]
