"""The third-party actions that a workflow uses, and the folders that stand in for them where there is no github.com."""

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
    """Give each remote action that the workflow can reach: its own, its called workflows', its local actions'.

    Docker actions (`docker://`) are left out: they need no repository.
    """
    found: set[Action] = set()
    _collect(tree, tree / workflow, found, set())
    return found


def stand_ins(actions: set[Action], folder: Path) -> tuple[dict[str, Path], list[Action]]:
    """Give `owner/repo@ref` with its stand-in in `folder/<owner>/<repo>`, and the actions that have none."""
    found = {f"{each.repository}@{each.ref}": folder / each.repository for each in actions if _stands(each, folder)}
    return found, sorted(each for each in actions if not _stands(each, folder))


def _stands(action: Action, folder: Path) -> bool:
    place = folder / action.repository / action.path
    return any((place / name).is_file() for name in ("action.yml", "action.yaml"))


def _collect(tree: Path, file: Path, found: set[Action], seen: set[Path]) -> None:
    if file in seen or not file.is_file():
        return
    seen.add(file)
    for uses in _uses(read_yaml(file.read_text(encoding="utf-8"))):
        if uses.startswith("./"):
            # A workflow finds its own actions in its checkout, which isn't the workspace's root.
            place = tree / uses.removeprefix("./").removeprefix(".bridge/")
            for each in (place, place / "action.yml", place / "action.yaml"):
                _collect(tree, each, found, seen)
        elif "@" in uses and not uses.startswith("docker:"):
            name, _, ref = uses.rpartition("@")
            owner, repository, *path = name.split("/")
            found.add(Action(f"{owner}/{repository}", "/".join(path), ref))


def _uses(document: Any) -> Iterator[str]:
    """Give the `uses` of a workflow's jobs and steps, or of a composite action's steps."""
    jobs = document.get("jobs") or {} if isinstance(document, Mapping) else {}
    runs = document.get("runs") or {} if isinstance(document, Mapping) else {}
    for holder in [*jobs.values(), runs]:
        for each in [holder, *(holder.get("steps") or [])]:
            if isinstance(each.get("uses"), str):
                yield each["uses"]
