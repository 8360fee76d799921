"""Artifacts in S3 that go through the server in both directions: the scheme `proxied-s3`, an MLflow plugin.

With the scheme `s3`, a server of MLflow 3.17 lets its clients exchange files with the bucket directly, at addresses
that it signs. Clients then have to reach the bucket under the name that the server has for it.
"""

from typing import Any

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

SCHEME = "proxied-s3"


class ProxiedS3(ArtifactRepository):  # type: ignore[misc]  # mlflow is not followed
    """MLflow's S3 without the methods that sign addresses for clients."""

    def __init__(self, artifact_uri: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(artifact_uri, *args, **kwargs)
        self._s3: Any = S3ArtifactRepository("s3" + artifact_uri.removeprefix(SCHEME), *args, **kwargs)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Write a file to the bucket."""
        self._s3.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Write a folder to the bucket."""
        self._s3.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> Any:
        """Return the files and folders directly below the path."""
        return self._s3.list_artifacts(path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete everything at or below the path."""
        self._s3.delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._s3._download_file(remote_file_path, local_path)
