"""Writes docs/reference.md: every setting, every input of the workflow, every message, as the code has them.

    python docs/reference.py

A message is a text that names a thing, its cause and, behind the last colon, the mend.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import PydanticUndefined

from bridge.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"

_MESSAGE = re.compile(r"^(?P<thing>[^\n]{12,}): (?P<mend>[a-z](?:[^\n()]|\([^\n()]*\)){5,})$")
"""The mend begins behind the last colon that is in no parentheses."""

_NO_MESSAGE = frozenset({"description", "help", "validation_alias", "pattern"})
"""Keyword arguments whose texts are no messages."""

_ROOMS = {
    "image": "In the run's log, as an annotation and in its summary",
    "doctor": "In the table of `mlflow-bridge doctor`",
    "commands": "From the other commands of `mlflow-bridge`",
    "": "From the bridge: in its log, in `/ready`, on the status page or as an answer's `detail`",
}
"""Where a message shows, by the folder of the package that it stands in."""

_SILENT = frozenset({"demo", "migrations"})


def page() -> str:
    """Give the page's text."""
    parts = ["# Reference", _FOREWORD, "## Settings of the bridge", *_settings()]
    for name in ("model-image.yml", "on-mlflow-event.yml"):
        parts += [f"## Inputs of `{name}`", *_inputs(name)]
    parts += ["## Messages", _ABOUT_MESSAGES]
    for room, where in _ROOMS.items():
        if messages := sorted(set(_messages(room))):
            parts += [f"### {where}", _table(("message", "what to do"), messages)]
    return "\n\n".join(parts) + "\n"


_FOREWORD = "Written by `docs/reference.py` from the code itself; `make docs` writes it anew."

_ABOUT_MESSAGES = (
    "Each names the thing, the cause and the mend. `…` stands for what differs: a name, a number, GitHub's or the "
    "registry's own words. No message holds a secret."
)


def _settings() -> Iterator[str]:
    yield "Environment variables, or lines of a file `.env` in the folder that the bridge is started in."
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        rows.append((f"`{name.upper()}`", default, field.description or ""))
    yield _table(("variable", "default", "value"), sorted(rows))


def _inputs(workflow: str) -> Iterator[str]:
    read: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / workflow).read_text())
    for event, about in read[True].items():  # YAML 1.1 takes `on` for true
        for kind in ("inputs", "secrets"):
            if rows := [
                (f"`{name}`", f"`{one['default']}`" if one.get("default") not in (None, "") else "", one["description"])
                for name, one in ((about or {}).get(kind) or {}).items()
            ]:
                yield f"{kind.capitalize()} by `{event}`:"
                yield _table(("name", "default", "value"), rows)


def _messages(room: str) -> Iterator[tuple[str, ...]]:
    package = ROOT / "bridge"
    for path in sorted((package / room).rglob("*.py")):
        folder = path.relative_to(package).parts[0]
        if folder not in _SILENT and (room or folder not in _ROOMS):
            yield from _texts(ast.parse(path.read_text()))


def _texts(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Give each message in the code, with its mend apart; docstrings have a full stop or more than one line."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.keyword) and node.arg in _NO_MESSAGE:
            continue
        text = _text(node)
        if text is None:
            yield from _texts(node)
        elif (message := _MESSAGE.match(text)) and not text.endswith("."):
            yield message["thing"], message["mend"]


def _text(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values):
            return "".join(_text(value) or "…" for value in values)
    return None


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", r"\|").strip() for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page())
