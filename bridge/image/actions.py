"""The commands by which a step talks to GitHub's runner: outputs, annotations, the summary.

Source: GitHub's "Workflow commands for GitHub Actions". Outside a runner they print, or do nothing.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def error(title: str, message: str) -> None:
    """Annotate the run with what stopped it."""
    _annotate("error", title, message)


def notice(title: str, message: str) -> None:
    """Annotate the run with what is good to know."""
    _annotate("notice", title, message)


def mask(value: str) -> None:
    """Have the runner show stars for `value`, which is one line, in all that it logs from here on."""
    print(f"::add-mask::{_data(value)}", flush=True)


def output(name: str, value: str) -> None:
    """Set an output of this step; `value` may hold anything, for the delimiter can't be guessed."""
    delimiter = f"end-{secrets.token_hex(16)}"
    _append("GITHUB_OUTPUT", f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def summary(markdown: str) -> None:
    """Add to the summary on the run's page."""
    _append("GITHUB_STEP_SUMMARY", markdown.rstrip() + "\n\n")


@contextmanager
def untrusted_output() -> Iterator[None]:
    """Keep the runner from obeying commands in what a model, its packages or its container print meanwhile."""
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", flush=True)
    try:
        yield
    finally:
        print(f"\n::{token}::", flush=True)


def say(text: str) -> None:
    """Print one line of ours to the step's log; what it quotes can't start a line of its own, nor a command.

    The runner obeys `::command::` at the start of a line, and its older form `##[command]` anywhere.
    """
    print("  " + " ".join(text.splitlines()).replace("##[", "##\N{ZERO WIDTH SPACE}["), flush=True)


def _annotate(kind: str, title: str, message: str) -> None:
    print(f"::{kind} title={_property(title)}::{_data(message)}", flush=True)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _append(variable: str, text: str) -> None:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stdout.write(text)
