"""A private copy of a working tree for a run, so that it can't change the original."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_NO_COMMIT = "0" * 40
_ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.defpath}
"""Without the user's git configuration."""
_COMMIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "loopback"), ("EMAIL", "loopback@localhost"), ("DATE", "2000-01-01T00:00:00Z"))
}


def head_sha(tree: Path) -> str:
    """Return the newest commit of `tree`, or forty zeros without git repository or commit."""
    if not _is_repository(tree):
        return _NO_COMMIT
    result = _git(tree, "rev-parse", "--verify", "--quiet", "HEAD", check=False)
    return result.stdout.strip() or _NO_COMMIT


def copy(tree: Path, destination: Path, repository: str) -> None:
    """Create a git repository at `destination`: branch main, one commit of the files in `tree` that git doesn't ignore.

    If `tree` is no git repository, all files are copied but those in hidden folders other than .github. `act` reads the
    repository's name from the remote `origin`; nothing is fetched from there.
    """
    for name in _files(tree):
        source, target = tree / name, destination / name
        if source.is_symlink() or source.is_file():  # git also lists deleted files
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    destination.mkdir(parents=True, exist_ok=True)
    _git(destination, "init", "--quiet", "--initial-branch=main")
    _git(destination, "remote", "add", "origin", f"https://github.com/{repository}")
    _git(destination, "add", "--all", "--force")
    _git(destination, "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message=Checkout")


def _files(tree: Path) -> Iterator[Path]:
    if _is_repository(tree):
        listed = _git(tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate").stdout
        yield from (Path(name) for name in listed.split("\0") if name)
        return
    for folder, folders, names in os.walk(tree):
        folders[:] = [name for name in folders if not name.startswith(".") or name == ".github"]  # not .venv
        yield from (Path(folder, name).relative_to(tree) for name in names)


def _is_repository(tree: Path) -> bool:
    return (tree / ".git").exists()


def _git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["git", "-c", "safe.directory=*", "-c", "core.quotePath=false", "-C", str(folder), *arguments]
    environment = {**_ALONE, **_COMMIT, "PATH": os.environ.get("PATH", os.defpath)}
    return subprocess.run(command, check=check, capture_output=True, text=True, env=environment)
