"""MLflow's credentials only go to MLflow, wherever a model says that its files are. The MLflow server is real."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifact_hosts import WAYS, AnyMlflow, check_downloads, check_no_connection


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyMlflow]:
    with AnyMlflow(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.mark.parametrize("step", ["resolve", "download"])
@pytest.mark.parametrize("by", WAYS[1:])
def test_no_step_connects_to_a_host_that_a_model_names(mlflow: AnyMlflow, tmp_path: Path, by: str, step: str) -> None:
    check_no_connection(mlflow, by, step, tmp_path)


@pytest.mark.parametrize("by", WAYS[1:])
@pytest.mark.parametrize("host", [False, True])
def test_files_at_the_servers_own_host_or_at_none_are_downloaded_unchanged(
    mlflow: AnyMlflow, tmp_path: Path, host: bool, by: str
) -> None:
    check_downloads(mlflow, by, tmp_path, host=host)
