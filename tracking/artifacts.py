"""Artifacts in S3 that go through the server both ways: MLflow's scheme `proxied-s3`, by its plugin's entry point.

On plain `s3` a server of MLflow 3.17 tells its clients that they may fetch files from the bucket by themselves,
with addresses that it signs. They then have to reach the bucket, under the name that the server has for it.
"""

from typing import Any

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

SCHEME = "proxied-s3"


class ProxiedS3(ArtifactRepository):  # type: ignore[misc]  # mlflow is not followed
    """MLflow's S3 without what it offers to clients alone: to sign addresses for parts and for whole files."""

    def __init__(self, artifact_uri: str, *given: Any, **named: Any) -> None:
        super().__init__(artifact_uri, *given, **named)
        self._s3: Any = S3ArtifactRepository("s3" + artifact_uri.removeprefix(SCHEME), *given, **named)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Write a file to the bucket."""
        self._s3.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Write a folder to the bucket."""
        self._s3.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> Any:
        """Give what is right below the path."""
        return self._s3.list_artifacts(path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Remove what is at or below the path."""
        self._s3.delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._s3._download_file(remote_file_path, local_path)
