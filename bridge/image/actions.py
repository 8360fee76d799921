"""Messages to GitHub's runner: outputs, annotations and the summary.

Source: GitHub's "Workflow commands for GitHub Actions". Outside a runner, outputs and summary are printed.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def error(title: str, message: str, hint: str = "") -> None:
    """Annotate the run with an error, and with how to fix it on a second line."""
    _annotate("error", title, f"{message}\nFix: {hint}" if hint else message)


def notice(title: str, message: str) -> None:
    """Annotate the run with a remark that doesn't fail it."""
    _annotate("notice", title, message)


def mask(value: str) -> None:
    """Replace `value`, one line of text, by stars in all further output of the job."""
    print(f"::add-mask::{_data(value)}", flush=True)


def output(name: str, value: str) -> None:
    """Set an output of this step. `value` may be any text: it can't guess the delimiter that ends it."""
    delimiter = f"end-{secrets.token_hex(16)}"
    _append("GITHUB_OUTPUT", f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def summary(markdown: str) -> None:
    """Append to the summary on the run's page."""
    _append("GITHUB_STEP_SUMMARY", markdown.rstrip() + "\n\n")


def escape(text: str) -> str:
    """Return `text` for the summary so that nothing in it becomes Markdown, HTML or a new line."""
    return "".join(char if char.isalnum() or char == " " else f"&#{ord(char)};" for char in text)


@contextmanager
def untrusted_output() -> Iterator[None]:
    """Keep the runner from executing commands that a model, its packages or its container print in this block."""
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", flush=True)
    try:
        yield
    finally:
        print(f"\n::{token}::", flush=True)


def log(text: str) -> None:
    """Print one line of ours to the step's log. What it quotes can start neither a new line nor a command.

    The runner executes `::command::` at the start of a line, and its older form `##[command]` anywhere.
    """
    print("  " + " ".join(text.splitlines()).replace("##[", "##\N{ZERO WIDTH SPACE}["), flush=True)


def _annotate(kind: str, title: str, message: str) -> None:
    escaped_title = _data(title).replace(":", "%3A").replace(",", "%2C")
    print(f"::{kind} title={escaped_title}::{_data(message)}", flush=True)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _append(variable: str, text: str) -> None:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stdout.write(text)
