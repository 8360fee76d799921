import pytest

from bridge.image.mlflow_tags import write_image, write_status
from bridge.mlflow.client import MlflowError
from tests.unit.image.in_memory import MemoryMlflow, version

RUN = "https://github.example/octo/models/actions/runs/1"
URI = "r.example/iris@sha256:1"


@pytest.mark.parametrize("status", ["building", "failed"])
def test_a_version_says_what_its_build_comes_to(status: str) -> None:
    mlflow = MemoryMlflow()
    write_status(mlflow, version("1"), status, ["r.example/iris"], RUN)
    assert mlflow.written == [("image.status", status), ("image.run_url", RUN)]


@pytest.mark.parametrize("status", ["building", "failed"])
def test_a_version_whose_image_was_pushed_stays_pushed(status: str) -> None:
    mlflow = MemoryMlflow()
    pushed = version("1", **{"image.status": "pushed", "image.uri": URI})
    write_status(mlflow, pushed, status, ["r.example/iris"], RUN)
    assert mlflow.written == []


def test_a_version_that_brings_another_models_tags_has_no_image_of_its_own() -> None:
    mlflow = MemoryMlflow()
    copied = version("1", **{"image.status": "pushed", "image.uri": "r.example/iris-dev@sha256:1"})
    write_status(mlflow, copied, "failed", ["r.example/iris"], RUN)
    assert mlflow.written[0] == ("image.status", "failed")


def test_an_image_is_written_by_digest_and_only_where_mlflow_does_not_know_it() -> None:
    mlflow = MemoryMlflow()
    write_image(mlflow, version("1", **{"image.status": "failed"}), URI, RUN)
    assert mlflow.written == [("image.uri", URI), ("image.status", "pushed"), ("image.run_url", RUN)]
    mlflow.written.clear()
    write_image(mlflow, version("1", **{"image.status": "pushed", "image.uri": URI}), URI, RUN)
    assert mlflow.written == []


@pytest.mark.parametrize(("failure", "end"), [(None, []), ("", ["passed"]), ("status 1", ["status 1"])])
def test_the_gates_result_for_another_image_does_not_become_one_for_this_image(
    failure: str | None, end: list[str]
) -> None:
    mlflow = MemoryMlflow()
    tags = {"image.status": "pushed", "image.uri": "r.example/iris@sha256:0", "image.gate": "passed"}
    write_image(mlflow, version("1", **tags), URI, RUN, failure)
    assert mlflow.written[:2] == [("image.gate", "unchecked"), ("image.uri", URI)]
    assert [value for key, value in mlflow.written[2:] if key == "image.gate"] == end
    mlflow.written.clear()
    write_image(mlflow, version("1", **tags | {"image.uri": URI}), URI, RUN)
    assert mlflow.written == []


class Racing(MemoryMlflow):
    """Refuses each tag the first time, as MLflow does if another run writes it at the same moment."""

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.written.append((key, value))
        if self.written.count((key, value)) == 1:
            raise MlflowError("400 BAD_REQUEST: UNIQUE constraint failed")


def test_a_tag_that_another_run_writes_at_the_same_time_is_written_once_more() -> None:
    mlflow = Racing()
    write_image(mlflow, version("1"), URI, RUN)
    assert set(mlflow.written) == {("image.uri", URI), ("image.status", "pushed"), ("image.run_url", RUN)}
