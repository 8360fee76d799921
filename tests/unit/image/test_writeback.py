import pytest

from bridge.image.writeback import write_image, write_status

from .memory import MemoryMlflow, version

RUN = "https://github.example/octo/models/actions/runs/1"
URI = "r.example/iris@sha256:1"


@pytest.mark.parametrize("status", ["building", "failed"])
def test_a_version_says_what_its_build_comes_to(status: str) -> None:
    mlflow = MemoryMlflow()
    write_status(mlflow, version("1"), status, "r.example/iris", RUN)
    assert mlflow.written == [("image.status", status), ("image.run_url", RUN)]


@pytest.mark.parametrize("status", ["building", "failed"])
def test_a_version_whose_image_was_pushed_stays_pushed(status: str) -> None:
    mlflow = MemoryMlflow()
    pushed = version("1", **{"image.status": "pushed", "image.uri": URI})
    write_status(mlflow, pushed, status, "r.example/iris", RUN)
    assert mlflow.written == []


def test_a_version_that_brings_another_models_tags_has_no_image_of_its_own() -> None:
    mlflow = MemoryMlflow()
    copied = version("1", **{"image.status": "pushed", "image.uri": "r.example/iris-dev@sha256:1"})
    write_status(mlflow, copied, "failed", "r.example/iris", RUN)
    assert mlflow.written[0] == ("image.status", "failed")


def test_an_image_is_written_by_digest_and_only_where_mlflow_does_not_know_it() -> None:
    mlflow = MemoryMlflow()
    write_image(mlflow, version("1", **{"image.status": "failed"}), URI, RUN)
    assert mlflow.written == [("image.uri", URI), ("image.status", "pushed"), ("image.run_url", RUN)]
    mlflow.written.clear()
    write_image(mlflow, version("1", **{"image.status": "pushed", "image.uri": URI}), URI, RUN)
    assert mlflow.written == []
