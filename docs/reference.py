"""Writes docs/reference.md: every setting, and every input and secret of the workflows, as the code describes them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import PydanticUndefined

from bridge.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
WORKFLOWS = ("model-image.yml", "on-mlflow-event.yml")


def page() -> str:
    """Return the text of the page."""
    parts = [
        "# Reference",
        "`make docs` writes this page from the code.",
        "## Settings",
        "Settings are environment variables, or lines of a file `.env` in the folder where the bridge starts. An empty "
        "variable counts as not set.",
    ]
    for name, field in sorted(Settings.model_fields.items()):
        parts.append(_section(name.upper(), field.default, field.description, field.examples or ()))
    for workflow in WORKFLOWS:
        parts += _inputs(workflow)
    return "\n\n".join(parts) + "\n"


def _inputs(workflow: str) -> Iterator[str]:
    content: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / workflow).read_text())
    for trigger in content[True].values():  # YAML 1.1 reads `on` as true
        for kind in ("inputs", "secrets"):
            if declared := (trigger or {}).get(kind):
                yield f"## {kind.capitalize()} of `{workflow}`"
                for name, about in declared.items():
                    yield _section(name, about.get("default"), about["description"])


def _section(name: str, default: object, description: str | None, examples: Sequence[object] = ()) -> str:
    """Return a heading, the description as a sentence, the examples and the default if there are any."""
    text = f"### `{name}`\n\n{(description or '').strip().removesuffix('.')}."
    shown_default = f"{default:g}" if isinstance(default, float) else str(default)
    if shown := [f"`{example}`" for example in examples if str(example) != shown_default]:
        text += f" Example: {' or '.join(shown)}."
    if default in (None, "", PydanticUndefined):
        return text
    if isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, float):
        default = f"{default:g}"
    return f"{text}\n\nDefault: `{default}`"


if __name__ == "__main__":
    PAGE.write_text(page())
