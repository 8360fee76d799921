"""The files of a checkout as GitHub's API shows those of the default branch, `main`.

Source: GitHub's document "Get repository content".
"""

import base64
import zlib
from pathlib import Path
from typing import Any

from tests.loopback.github.gate import DOCS, ApiError

_DOCUMENT = f"{DOCS}/repos/contents#get-repository-content"


class Contents:
    """The tree as it is now; every method raises `ApiError` 404 if there is nothing."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree.resolve()

    def raw(self, path: str, ref: str) -> bytes:
        """Return a file's bytes."""
        file = self._find(path, ref)
        if not file.is_file():
            raise ApiError(415, "Unsupported 'Accept' header for a folder.", _DOCUMENT)
        return file.read_bytes()

    def described(self, path: str, ref: str) -> dict[str, Any] | list[dict[str, Any]]:
        """Return the entries of a folder, or a file with its content in base64."""
        file = self._find(path, ref)
        if file.is_dir():
            return [self._entry(entry) for entry in sorted(file.iterdir())]
        content = base64.encodebytes(file.read_bytes()).decode()
        return {**self._entry(file), "encoding": "base64", "content": content}

    def _find(self, path: str, ref: str) -> Path:
        if ref.removeprefix("refs/heads/") != "main":
            raise ApiError(404, f"No commit found for the ref {ref}", _DOCUMENT)
        target = (self._tree / path).resolve()
        if not target.is_relative_to(self._tree) or not target.exists():
            raise ApiError(404, "Not Found", _DOCUMENT)
        return target

    def _entry(self, path: Path) -> dict[str, Any]:
        name = path.relative_to(self._tree).as_posix()
        return {
            "type": "dir" if path.is_dir() else "file",
            "name": path.name,
            "path": name,
            "size": 0 if path.is_dir() else path.stat().st_size,
            "sha": f"{zlib.crc32(name.encode()):040x}",
        }
