"""Workflow files: the events that they listen to, the titles of their runs, and their concurrency groups.

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
_CALLED = re.compile(r"(?:[.$]|([^/@\s]+/[^/@\s]+))/(\.github/workflows/[^/@\s]+)(?:@\S+)?")
_BOOLEAN, _TIMESTAMP = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Reads YAML like GitHub: only true and false are booleans, whereas PyYAML's YAML 1.1 reads `on` as one too."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOLEAN, _TIMESTAMP)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


@dataclass(frozen=True)
class Input:
    """An input of `workflow_dispatch`."""

    type: str
    required: bool
    default: str
    options: tuple[str, ...]
    """The values of an input of type `choice`; empty for all other types."""


@dataclass(frozen=True)
class Concurrency:
    """The workflow-level group of a run, and whether the run cancels a running one of that group."""

    group: str
    cancel_in_progress: bool


@dataclass(frozen=True)
class Call:
    """A job's call of a reusable workflow; `repository` is empty if it is the caller's own."""

    repository: str
    path: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Workflow:
    """A workflow file; `path` is relative to the repository's root."""

    path: str
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The workflow's name, or its path if it has none."""
        return as_string(self.document.get("name")) or self.path

    def listens_to(self, event_type: str) -> bool:
        """Whether a `repository_dispatch` of this type starts a run; without `types`, any type does."""
        triggers = _triggers(self.document)
        if "repository_dispatch" not in triggers:
            return False
        types = (triggers["repository_dispatch"] or {}).get("types")
        return types is None or event_type in _as_list(types)

    @property
    def inputs(self) -> Mapping[str, Input] | None:
        """The inputs of `workflow_dispatch`; None if the workflow doesn't listen to it."""
        triggers = _triggers(self.document)
        if "workflow_dispatch" not in triggers:
            return None
        declared = (triggers["workflow_dispatch"] or {}).get("inputs") or {}
        return {name: _read_input(declaration or {}) for name, declaration in declared.items()}

    def typed(self, inputs: Mapping[str, str]) -> dict[str, str | bool]:
        """Return the context `inputs`, where booleans are booleans; in `github.event.inputs` they are strings."""
        declared = self.inputs or {}
        return {name: value == "true" if declared[name].type == "boolean" else value for name, value in inputs.items()}

    @property
    def calls(self) -> list[Call]:
        """The reusable workflows that its jobs call."""
        jobs = self.document.get("jobs")
        found = []
        for job in jobs.values() if isinstance(jobs, Mapping) else ():
            called = _CALLED.fullmatch(as_string(job.get("uses"))) if isinstance(job, Mapping) else None
            if called:
                inputs = job.get("with")
                found.append(Call(called[1] or "", called[2], inputs if isinstance(inputs, Mapping) else {}))
        return found

    def title(self, context: Context) -> str:
        """Return the evaluated `run-name`, empty if there is none; raises `InvalidExpression`."""
        return render(as_string(self.document.get("run-name")), context).strip()

    def concurrency(self, context: Context) -> Concurrency | None:
        """Return the run's workflow-level group, in lower case as GitHub ignores case; raises `InvalidExpression`."""
        declared = self.document.get("concurrency")
        if not isinstance(declared, Mapping):
            declared = {"group": declared}
        group = render(as_string(declared.get("group")), context).lower()
        cancel = declared.get("cancel-in-progress", False)
        if isinstance(cancel, str):
            cancel = evaluate(cancel.strip().removeprefix("${{").removesuffix("}}"), context)
        return Concurrency(group, is_true(cancel)) if group else None


def read_workflows(tree: Path) -> list[Workflow]:
    """Return the workflows in the checkout at `tree`, by name. Files that aren't a YAML mapping are omitted.

    GitHub shows an invalid file only as a failed run of the push; no other event starts it.
    """
    workflows = []
    for file in sorted((tree / FOLDER).glob("*.y*ml")):
        status = file.stat()
        document = _read(file, status.st_mtime_ns, status.st_size)
        if isinstance(document, Mapping):
            workflows.append(Workflow(f"{FOLDER}/{file.name}", document))
    return workflows


def read_yaml(text: str) -> Any:
    """Parse YAML like GitHub; raises `yaml.YAMLError`."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader


@lru_cache(maxsize=256)
def _read(file: Path, _mtime_ns: int, _size: int) -> Any:
    try:
        return read_yaml(file.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return None


def _triggers(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `on:`, which may be a name, a list or a mapping, as a mapping."""
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
