"""A private copy of a repository's working tree, so that a run can't touch the one that people work in."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_NO_COMMIT = "0" * 40
_ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.defpath}
"""Nothing of the user's own git settings plays a part."""
_COMMIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "loopback"), ("EMAIL", "loopback@localhost"), ("DATE", "2000-01-01T00:00:00Z"))
}


def head_sha(tree: Path) -> str:
    """Give the checkout's newest commit, or forty zeros where `tree` is no git repository or has no commit."""
    if not _is_repository(tree):
        return _NO_COMMIT
    done = _git(tree, "rev-parse", "--verify", "--quiet", "HEAD", check=False)
    return done.stdout.strip() or _NO_COMMIT


def copy(tree: Path, destination: Path, repository: str) -> None:
    """Make `destination` a git repository on branch main with one commit: what git tracks in `tree`, and what is new.

    What git ignores stays behind. Without git, all of `tree` is copied. The remote named origin tells `act` the name of
    the repository; nothing is fetched from it.
    """
    for name in _files(tree):
        source, target = tree / name, destination / name
        if source.is_symlink() or source.is_file():  # what is deleted and not yet committed is listed too
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
    for folder, _, names in os.walk(tree):
        yield from (Path(folder, name).relative_to(tree) for name in names)


def _is_repository(tree: Path) -> bool:
    return (tree / ".git").exists()


def _git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["git", "-c", "safe.directory=*", "-c", "core.quotePath=false", "-C", str(folder), *arguments]
    environment = {**_ALONE, **_COMMIT, "PATH": os.environ.get("PATH", os.defpath)}
    return subprocess.run(command, check=check, capture_output=True, text=True, env=environment)
