"""The third-party actions of a workflow, and the local folders that replace them without github.com."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.github.workflow_file import read_yaml

CHECKOUT = "actions/checkout"


@dataclass(frozen=True, order=True)
class Action:
    """A `uses: owner/repo/path@ref`; `path` is empty for most."""

    repository: str
    path: str
    ref: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.repository, self.path) if part) + f"@{self.ref}"


def used(tree: Path, workflow: str) -> set[Action]:
    """Return each remote action of the workflow, of the workflows that it calls, and of its local actions.

    Docker actions (`docker://`) are not included: they need no repository.
    """
    actions: set[Action] = set()
    _collect(tree, tree / workflow, actions, set())
    return actions


def replacements_for(actions: set[Action], folder: Path) -> tuple[dict[str, Path], list[Action]]:
    """Return the replacement in `folder/<owner>/<repo>` by `owner/repo@ref`, and the actions without one."""
    replaced = {action for action in actions if _has_replacement(action, folder)}
    replacements = {f"{action.repository}@{action.ref}": folder / action.repository for action in replaced}
    return replacements, sorted(actions - replaced)


def _has_replacement(action: Action, folder: Path) -> bool:
    target = folder / action.repository / action.path
    return any((target / name).is_file() for name in ("action.yml", "action.yaml"))


def _collect(tree: Path, file: Path, actions: set[Action], seen: set[Path]) -> None:
    if file in seen or not file.is_file():
        return
    seen.add(file)
    for uses in _uses(read_yaml(file.read_text(encoding="utf-8"))):
        if uses.startswith("./"):
            # The called workflow checks the bridge out to .bridge, and uses its actions there.
            target = tree / uses.removeprefix("./").removeprefix(".bridge/")
            for candidate in (target, target / "action.yml", target / "action.yaml"):
                _collect(tree, candidate, actions, seen)
        elif "@" in uses and not uses.startswith("docker:"):
            name, _, ref = uses.rpartition("@")
            owner, repository, *path = name.split("/")
            actions.add(Action(f"{owner}/{repository}", "/".join(path), ref))


def _uses(document: Any) -> Iterator[str]:
    """Yield the `uses` of a workflow's jobs and steps, or of a composite action's steps."""
    jobs = document.get("jobs") or {} if isinstance(document, Mapping) else {}
    runs = document.get("runs") or {} if isinstance(document, Mapping) else {}
    for parent in [*jobs.values(), runs]:
        for part in [parent, *(parent.get("steps") or [])]:
            if isinstance(part.get("uses"), str):
                yield part["uses"]
