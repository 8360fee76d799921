"""The workflow files of a checkout: what they listen to, what their runs are called, which runs exclude each other.

Source: GitHub's documents "Workflow syntax for GitHub Actions" and "Events that trigger workflows".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from bridge.github.expressions import Context, as_string, evaluate, is_true, render

FOLDER = ".github/workflows"
_BOOLEAN, _TIMESTAMP = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Reads as GitHub does: `on` is a word and only true and false are booleans (PyYAML alone speaks YAML 1.1)."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOLEAN, _TIMESTAMP)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


@dataclass(frozen=True)
class Input:
    """One input of `workflow_dispatch`."""

    type: str
    required: bool
    default: str
    options: tuple[str, ...]
    """The values that an input of type `choice` takes; empty for all other types."""


@dataclass(frozen=True)
class Concurrency:
    """The workflow-level group that a run is in, and whether it cancels the one that is under way."""

    group: str
    cancel_in_progress: bool


@dataclass(frozen=True)
class Workflow:
    """One workflow file; `path` is relative to the repository's root."""

    path: str
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Give the workflow's name, or its path where it has none."""
        return as_string(self.document.get("name")) or self.path

    def listens_to(self, event_type: str) -> bool:
        """Tell whether a `repository_dispatch` of this type starts a run; without `types`, each one does."""
        triggers = _triggers(self.document)
        if "repository_dispatch" not in triggers:
            return False
        types = (triggers["repository_dispatch"] or {}).get("types")
        return types is None or event_type in _as_list(types)

    @property
    def inputs(self) -> Mapping[str, Input] | None:
        """Give the inputs of `workflow_dispatch`, or None where the workflow doesn't listen to it."""
        triggers = _triggers(self.document)
        if "workflow_dispatch" not in triggers:
            return None
        declared = (triggers["workflow_dispatch"] or {}).get("inputs") or {}
        return {name: _read_input(declaration or {}) for name, declaration in declared.items()}

    def typed(self, given: Mapping[str, str]) -> dict[str, str | bool]:
        """Give the context `inputs`, in which booleans are booleans; in `github.event.inputs` they are strings."""
        declared = self.inputs or {}
        return {name: value == "true" if declared[name].type == "boolean" else value for name, value in given.items()}

    def title(self, context: Context) -> str:
        """Give the evaluated `run-name`, or nothing where there is none; raises `InvalidExpression`."""
        return render(as_string(self.document.get("run-name")), context).strip()

    def concurrency(self, context: Context) -> Concurrency | None:
        """Give the run's workflow-level group; those of jobs can't be told before the run. Names ignore case."""
        declared = self.document.get("concurrency")
        if not isinstance(declared, Mapping):
            declared = {"group": declared}
        group = render(as_string(declared.get("group")), context).lower()
        cancel = declared.get("cancel-in-progress", False)
        if isinstance(cancel, str):
            cancel = evaluate(cancel.strip().removeprefix("${{").removesuffix("}}"), context)
        return Concurrency(group, is_true(cancel)) if group else None


def read_workflows(tree: Path) -> list[Workflow]:
    """Give the workflows of the checkout at `tree`, in the order of their names; what is no YAML mapping is left out.

    GitHub shows a broken file as a failed run of a push, which has no place here: no event starts it.
    """
    found = []
    for file in sorted((tree / FOLDER).glob("*.y*ml")):
        status = file.stat()
        document = _read(file, status.st_mtime_ns, status.st_size)
        if isinstance(document, Mapping):
            found.append(Workflow(f"{FOLDER}/{file.name}", document))
    return found


def read_yaml(text: str) -> Any:
    """Give the document in `text` with GitHub's understanding of YAML; raises `yaml.YAMLError`."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader


@lru_cache(maxsize=256)
def _read(file: Path, _mtime_ns: int, _size: int) -> Any:
    try:
        return read_yaml(file.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return None


def _triggers(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give `on:` as a mapping, of its three forms."""
    declared = document.get("on")
    return declared if isinstance(declared, Mapping) else dict.fromkeys(_as_list(declared))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _read_input(declaration: Mapping[str, Any]) -> Input:
    options = declaration.get("options") if declaration.get("type") == "choice" else None
    return Input(
        type=as_string(declaration.get("type")) or "string",
        required=is_true(declaration.get("required")),
        default=as_string(declaration.get("default")),
        options=tuple(as_string(option) for option in _as_list(options)),
    )
