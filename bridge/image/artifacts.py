"""A model version's files, through MLflow's artifact proxy and with MLflow's own client."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bridge.image.errors import DirectArtifacts, UnsafeMetadata
from bridge.image.layered.requirements import DESCRIPTION
from bridge.image.metadata import MLMODEL, PYTHON_ENV, ModelMetadata, read
from bridge.mlflow_api import MlflowError

_ADDRESS = re.compile(r"[#?%]")
_MAX_METADATA = 4_000_000
"""Bytes; the signature of a table with some ten thousand columns is the longest that is usual."""


class ModelArtifacts:
    """The files below one artifact URI."""

    def __init__(self, uri: str, tracking_uri: str) -> None:
        """Raises `DirectArtifacts` where the files would have to be fetched from a store of their own."""
        scheme = urlsplit(uri).scheme
        if scheme != "mlflow-artifacts":
            raise DirectArtifacts(
                f"the model's artifacts are at {scheme or 'a path'}:, which a runner can't sign in to: start MLflow "
                "with --artifacts-destination, so that new models go through its proxy, and log the model again"
            )
        self._uri = uri.rstrip("/")
        self._tracking_uri = tracking_uri

    def sizes(self) -> dict[str, int]:
        """Give each file's bytes by its path, without downloading any.

        Raises `UnsafeMetadata` where a name would be read as part of an address, `MlflowError` where MLflow fails.
        """
        from mlflow.artifacts import list_artifacts

        sizes: dict[str, int] = {}
        folders = [""]
        while folders:
            folder = folders.pop()
            with self._translated(folder):
                entries = list_artifacts(artifact_uri=self._below(folder), tracking_uri=self._tracking_uri)
            for entry in entries:
                path = f"{folder}/{_checked(entry.path.rsplit('/', 1)[-1])}".lstrip("/")
                if entry.is_dir:
                    folders.append(path)
                else:
                    sizes[path] = entry.file_size or 0
        return sizes

    def describe(self, to: Path) -> dict[str, int]:
        """Download what the model says it needs into the folder `to`; give all its files' bytes, as `sizes` does."""
        sizes = self.sizes()
        for name in DESCRIPTION:
            if name in sizes:
                self.download(to, name)
        return sizes

    def download(self, to: Path, path: str = "") -> Path:
        """Download one file, or everything, to somewhere in the folder `to`; give where. Raises `MlflowError`."""
        from mlflow.artifacts import download_artifacts

        to.mkdir(parents=True, exist_ok=True)
        with self._translated(path):
            return Path(
                download_artifacts(artifact_uri=self._below(path), dst_path=str(to), tracking_uri=self._tracking_uri)
            )

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        """Turn what MLflow's client raises into an error of ours."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            said = " ".join(str(error).split())[:300]
            raise MlflowError(
                f"{path or 'the model'} at {self._uri} can't be read through MLflow ({said}): check that MLflow serves "
                "artifacts, that this sign-in may read them, and that the runner's disk has room"
            ) from error

    def _below(self, path: str) -> str:
        return f"{self._uri}/{path}" if path else self._uri


def _checked(name: str) -> str:
    if _ADDRESS.search(name):
        raise UnsafeMetadata(f"the model has a file or folder {name!r}, and # ? % can't be asked for: rename it")
    return name


def metadata_in(folder: Path, *, java: bool = False) -> ModelMetadata:
    """Read and check the metadata of the model in `folder`. Raises as `bridge.image.metadata.read` does."""
    try:
        texts = [_read_small(folder / name) for name in (MLMODEL, PYTHON_ENV)]
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UnsafeMetadata(
            f"the model has no readable {MLMODEL} with a {PYTHON_ENV} beside it: log it with a newer MLflow"
        ) from error
    return read(*texts, java=java)


def _read_small(file: Path) -> str:
    if file.stat().st_size > _MAX_METADATA:
        raise UnsafeMetadata(f"{file.name} has more than {_MAX_METADATA:,} bytes: log the model with less in it")
    return file.read_text(encoding="utf-8")
