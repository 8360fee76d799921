"""Writes docs/reference.md: every setting and every input of the workflow, as the code has them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import PydanticUndefined

from bridge.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"


def page() -> str:
    """Give the page's text."""
    parts = ["# Reference", _FOREWORD, "## Settings of the bridge", *_settings()]
    for name in ("model-image.yml", "on-mlflow-event.yml"):
        parts += [f"## Inputs of `{name}`", *_inputs(name)]
    return "\n\n".join(parts) + "\n"


_FOREWORD = "Written by `docs/reference.py` from the code itself; `make docs` writes it anew."


def _settings() -> Iterator[str]:
    yield "Environment variables, or lines of a file `.env` in the folder that the bridge is started in."
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        examples = [f"`{text}`" for text in field.examples or () if text != str(field.default).removesuffix(".0")]
        description = f"{field.description} Example: {' or '.join(examples)}" if examples else str(field.description)
        rows.append((f"`{name.upper()}`", default, description))
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


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", r"\|").strip() for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page())
