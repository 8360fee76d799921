"""A model version's files, read through the tracking server's artifact proxy and from no other host."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import httpx2

from bridge.core import limits
from bridge.image.builders.layered.requirements import DESCRIPTION
from bridge.image.errors import DirectArtifacts, UnsafeMetadata
from bridge.image.metadata import MLMODEL, PYTHON_ENV, ModelMetadata, read
from bridge.mlflow.client import MlflowApi, MlflowBusy, MlflowError, MlflowUnreachable
from bridge.mlflow.threads import run_in_daemon_thread

_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\#?%]")
"""Control characters, and characters that can't be requested: MLflow decodes a path twice, and refuses `#` and `\\`."""
_LISTING_SECONDS = 300.0
_AT_ONCE = 8
"""Files that are downloaded in parallel."""
_PAUSES = (1.0, 4.0, 10.0)
"""Seconds before each retry."""

_R = TypeVar("_R")


class ModelArtifacts:
    """The files below one artifact URI. MLflow's listing isn't trusted: paths, sizes and counts are limited."""

    def __init__(self, uri: str, mlflow: MlflowApi) -> None:
        """Raises `DirectArtifacts` unless the files come through this MLflow's own artifact proxy."""
        self._root = _path_below_the_proxy(uri, mlflow.server)
        self._mlflow = mlflow

    def sizes(self) -> dict[str, int]:
        """Return each file's size in bytes by its path, without downloading any.

        Raises `UnsafeMetadata` if a name or the number of files is not allowed, `MlflowError` if MLflow fails or
        takes longer than five minutes.
        """
        try:
            return asyncio.run(asyncio.wait_for(run_in_daemon_thread(self._list), _LISTING_SECONDS))
        except TimeoutError as error:
            raise MlflowError(
                f"MLflow took longer than {_LISTING_SECONDS:.0f} s to list the model's files",
                "log the model with fewer files and folders",
            ) from error

    def _list(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        folders = [""]
        listed = 0
        while folders:
            folder = folders.pop()
            listed += 1
            names: set[str] = set()
            for entry in _with_retries(partial(self._mlflow.list_artifacts, self._at(folder))):
                path = f"{folder}/{entry.name}" if folder else entry.name
                _check_name(entry.name, path)
                if entry.name in names:
                    raise UnsafeMetadata(f"MLflow lists {path!r} twice among the model's files", "log the model again")
                names.add(entry.name)
                if entry.is_dir:
                    folders.append(path)
                else:
                    sizes[path] = entry.size
            if len(sizes) > limits.MAX_MODEL_FILES or listed + len(folders) > limits.MAX_MODEL_FOLDERS:
                raise UnsafeMetadata(
                    f"the model has more than {limits.MAX_MODEL_FILES:,} files or {limits.MAX_MODEL_FOLDERS:,} folders "
                    f"(the last one read is {folder!r})",
                    "log the model with fewer files and folders",
                )
        return sizes

    def describe(self, to: Path) -> dict[str, int]:
        """Download the model's metadata files into the folder `to`; return the sizes of all files, as `sizes` does."""
        sizes = self.sizes()
        needed = {name: sizes[name] for name in DESCRIPTION if name in sizes}
        for name, size in needed.items():
            _check_metadata_size(name, size)
        self.download(to, needed)
        return sizes

    def download(self, to: Path, sizes: Mapping[str, int]) -> None:
        """Download the files in `sizes`, a part of what `sizes()` returned, into the folder `to`.

        Each file has exactly the size that was listed. Raises `MlflowError`.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda item: self._download(to, *item), sizes.items()):
                pass

    def _download(self, to: Path, path: str, size: int) -> None:
        file = to / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _with_retries(lambda: self._mlflow.download_artifact(self._at(path), file, size))
        except OSError as error:
            raise MlflowError(
                f"the model's file {path[:200]!r} can't be written ({error.strerror})",
                "check that the runner's disk has space, and log the model again if the name is too long",
            ) from error

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}".strip("/")


def _path_below_the_proxy(uri: str, server: str) -> str:
    """Return the path of an artifact URI, without the host, which is checked here and never used.

    MLflow's own client sends its credentials to any host in that URI (mlflow_artifacts_repo.py).
    """
    if len(uri) > limits.MAX_ARTIFACT_URI:
        raise DirectArtifacts(
            f"the address of the model's artifacts has more than {limits.MAX_ARTIFACT_URI:,} characters",
            "log the model again",
        )
    try:
        parts = urlsplit(uri)
        host = httpx2.URL(f"{httpx2.URL(server).scheme}://{parts.netloc}") if parts.netloc else httpx2.URL(server)
        path = parts.path
        while (decoded := unquote(path, errors="strict")) != path:  # as MLflow does with a requested path
            path = decoded
    except (ValueError, httpx2.InvalidURL) as error:
        raise DirectArtifacts(f"the model's artifact URI {uri[:80]!r} is invalid", "log the model again") from error
    if parts.scheme != "mlflow-artifacts":
        raise DirectArtifacts(
            f"the model's artifacts are stored at {parts.scheme or 'a path'}:, not behind MLflow's artifact proxy",
            "start MLflow with --artifacts-destination, so that new models go through its proxy, then log the "
            "model again",
        )
    if host != httpx2.URL(server):
        raise DirectArtifacts(
            f"the model's artifacts are on the host {parts.netloc.rpartition('@')[2][:80]!r}, but MLflow's credentials "
            f"are only sent to {server}",
            "register the model from a source without a host or, if it is the same MLflow, set MLFLOW_TRACKING_URI to "
            "that host",
        )
    if parts.query or parts.fragment:
        raise DirectArtifacts(f"the model's artifact URI {uri[:80]!r} has a query or a fragment", "log the model again")
    names = [name for name in path.split("/") if name]
    for name in names:
        _check_name(name, "/".join(names))
    return "/".join(names)


def _check_name(name: str, path: str) -> None:
    """Raise `UnsafeMetadata` unless `name`, the last in `path`, means the same to MLflow and to the file system."""
    if name in ("", ".", "..") or "/" in name or _UNSAFE_NAME.search(name):
        raise UnsafeMetadata(f"the model has a file or folder with the unsafe name {path[:200]!r}", "rename it")
    if len(name.encode()) > limits.MAX_FILE_NAME or len(path.encode()) > limits.MAX_FILE_PATH:
        raise UnsafeMetadata(
            f"the model has a file or folder {path[:200]!r}, whose name has more than {limits.MAX_FILE_NAME} bytes or "
            f"whose path has more than {limits.MAX_FILE_PATH:,}",
            "rename it",
        )


def _with_retries(ask: Callable[[], _R]) -> _R:
    """Return what `ask` returns, with retries if MLflow fails in a way that may be temporary."""
    for pause in _PAUSES:
        try:
            return ask()
        except (MlflowUnreachable, MlflowBusy):
            time.sleep(pause)
    return ask()


def metadata_in(folder: Path, *, java: bool = False) -> ModelMetadata:
    """Read and check the metadata of the model in `folder`. Raises as `bridge.image.metadata.read` does."""
    try:
        for name in (MLMODEL, PYTHON_ENV):
            _check_metadata_size(name, (folder / name).stat().st_size)
        texts = [(folder / name).read_text(encoding="utf-8") for name in (MLMODEL, PYTHON_ENV)]
    except (OSError, UnicodeDecodeError) as error:
        raise UnsafeMetadata(
            f"the model has no readable {MLMODEL} and {PYTHON_ENV}", "log the model with a newer MLflow"
        ) from error
    return read(*texts, java=java)


def _check_metadata_size(name: str, size: int) -> None:
    if size > limits.MAX_METADATA:
        raise UnsafeMetadata(
            f"{name} has more than {limits.MAX_METADATA:,} bytes", "log the model with fewer columns or less metadata"
        )
