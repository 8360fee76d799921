from pathlib import Path

import pytest

from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.errors import DirectArtifacts, UnsafeMetadata


@pytest.mark.parametrize("uri", ["s3://bucket/model", "gs://bucket/model", "file:///model", "/model", "runs:/1/model"])
def test_a_store_of_its_own_is_refused_with_the_mend(uri: str) -> None:
    with pytest.raises(DirectArtifacts, match="start MLflow with --artifacts-destination"):
        ModelArtifacts(uri, "https://mlflow.example")


def test_a_file_that_is_too_long_to_be_metadata_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("#" * 4_000_001)
    with pytest.raises(UnsafeMetadata, match="MLmodel has more than 4,000,000 bytes"):
        metadata_in(tmp_path)


def test_a_model_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeMetadata, match="no readable MLmodel"):
        metadata_in(tmp_path)
