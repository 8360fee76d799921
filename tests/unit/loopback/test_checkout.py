import subprocess
from pathlib import Path

import pytest

from tests.loopback.runner.checkout import copy, head_sha


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@localhost", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub folder").mkdir(parents=True)
    (tree / "sub folder/模型.txt").write_text("committed")
    (tree / "gone.txt").touch()
    (tree / ".gitignore").write_text(".env\n")
    git(tree, "init", "--quiet", "--initial-branch=develop")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "--message=x")
    (tree / "sub folder/模型.txt").write_text("changed")
    (tree / "gone.txt").unlink()
    (tree / "new.txt").touch()
    (tree / ".env").write_text("SECRET=1")
    return tree


def files(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] != ".git")


def test_the_copy_has_what_git_knows_or_would_take_as_it_is_now(tree: Path, tmp_path: Path) -> None:
    copy(tree, tmp_path / "copy", "octo/models")
    assert files(tmp_path / "copy") == [".gitignore", "new.txt", "sub folder/模型.txt"]
    assert (tmp_path / "copy/sub folder/模型.txt").read_text() == "changed"


def test_the_copy_is_a_clean_repository_on_main_that_knows_its_name(tree: Path, tmp_path: Path) -> None:
    copy(tree, tmp_path / "copy", "octo/models")
    assert git(tmp_path / "copy", "status", "--porcelain") == ""
    assert git(tmp_path / "copy", "branch", "--show-current") == "main"
    assert git(tmp_path / "copy", "remote", "get-url", "origin").endswith("/octo/models")


def test_a_folder_without_git_is_copied_without_its_hidden_folders(tmp_path: Path) -> None:
    for name in ("a/b", ".github/c", ".venv/d", ".e"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    copy(tmp_path / "tree", tmp_path / "copy", "octo/models")
    assert files(tmp_path / "copy") == [".e", ".github/c", "a/b"]


def test_the_newest_commit_is_found_or_zeros(tree: Path, tmp_path: Path) -> None:
    assert head_sha(tree) == git(tree, "rev-parse", "HEAD")
    assert head_sha(tmp_path) == "0" * 40
