"""As tests/integration/test_artifact_hosts.py, on a release of MLflow that lets anybody name a host."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifact_hosts import WAYS, AnyMlflow, check_downloads, check_no_connection


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyMlflow]:
    with AnyMlflow(tmp_path_factory.mktemp("mlflow"), "3.14.0") as server:
        yield server


@pytest.mark.parametrize("step", ["resolve", "download"])
@pytest.mark.parametrize("by", WAYS)
def test_no_step_connects_to_a_host_that_a_model_names(mlflow: AnyMlflow, tmp_path: Path, by: str, step: str) -> None:
    check_no_connection(mlflow, by, step, tmp_path)


@pytest.mark.parametrize("by", WAYS)
def test_files_at_the_servers_own_host_are_downloaded_unchanged(mlflow: AnyMlflow, tmp_path: Path, by: str) -> None:
    check_downloads(mlflow, by, tmp_path, host=True)
