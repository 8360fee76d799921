import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.errors import UnsafeMetadata, UnsupportedModel
from bridge.image.metadata import ModelMetadata, read

PYTHON_ENV = yaml.safe_dump({"python": "3.11.7", "dependencies": ["-r requirements.txt"]})


def mlmodel(**changes: object) -> str:
    model = {
        "mlflow_version": "3.17.2",
        "flavors": {"python_function": {"env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}}},
        "saved_input_example_info": {"serving_input_path": "serving_input_example.json"},
    }
    return yaml.safe_dump({**model, **changes})


def test_plain_releases_and_the_serving_example_are_read() -> None:
    assert read(mlmodel(), PYTHON_ENV) == ModelMetadata("3.17.2", "3.11.7", has_serving_example=True)


def test_a_model_without_a_serving_example_has_none() -> None:
    assert not read(mlmodel(saved_input_example_info=None), PYTHON_ENV).has_serving_example


@pytest.mark.parametrize(
    "version",
    [
        "3.11.7\nRUN curl evil",
        "3.11.7 AS base",
        "3.11",
        "3.11.7-slim",
        "3.11.7\n",
        " 3.11.7",
        "٣.١١.٧",
        "03.11.7",
        "latest",
        "",
        3.11,
        None,
        ["3.11.7"],
    ],
)
def test_a_python_version_that_is_no_plain_release_is_refused(version: object) -> None:
    with pytest.raises(UnsafeMetadata, match=r"python_env\.yaml has python: "):
        read(mlmodel(), yaml.safe_dump({"python": version}))


@pytest.mark.parametrize(
    "version", ["https://evil.example/mlflow.zip", "3.17.2 --index-url x", "3.17.2rc1", "3.*", "-r x", "@ x", None]
)
def test_an_mlflow_version_that_is_no_plain_release_is_refused(version: object) -> None:
    with pytest.raises(UnsafeMetadata, match="MLmodel has mlflow_version: "):
        read(mlmodel(mlflow_version=version), PYTHON_ENV)


def test_releases_that_are_too_old_are_refused_with_the_oldest_that_works() -> None:
    with pytest.raises(UnsupportedModel, match=r"2\.15\.9.*2\.16\.0"):
        read(mlmodel(mlflow_version="2.15.9"), PYTHON_ENV)
    with pytest.raises(UnsupportedModel, match=r"3\.7\.17.*3\.8\.0"):
        read(mlmodel(), yaml.safe_dump({"python": "3.7.17"}))


@pytest.mark.parametrize("env", ["conda.yaml", None, {"virtualenv": "../python_env.yaml"}, {"virtualenv": ["x"]}, {}])
def test_an_environment_file_other_than_the_one_that_is_checked_is_refused(env: object) -> None:
    with pytest.raises(UnsupportedModel, match=r"python_env\.yaml"):
        read(mlmodel(flavors={"python_function": {"env": env}}), PYTHON_ENV)


@pytest.mark.parametrize("flavors", [None, [], {}, {"sklearn": {}}, {"python_function": None}])
def test_a_model_without_the_flavor_that_is_served_is_refused(flavors: object) -> None:
    with pytest.raises(UnsupportedModel, match="python_function"):
        read(mlmodel(flavors=flavors), PYTHON_ENV)


def test_a_model_that_needs_java_is_refused_without_it() -> None:
    flavors = {"python_function": {"env": {"virtualenv": "python_env.yaml"}}, "spark": {}}
    with pytest.raises(UnsupportedModel, match="spark") as refused:
        read(mlmodel(flavors=flavors), PYTHON_ENV)
    assert "install-java" in refused.value.hint
    read(mlmodel(flavors=flavors), PYTHON_ENV, java=True)


@given(st.text())
def test_no_version_passes_that_could_leave_its_line_in_a_dockerfile(version: str) -> None:
    try:
        metadata = read(mlmodel(), yaml.safe_dump({"python": version}))
    except BridgeError:
        return
    assert set(metadata.python_version) <= set("0123456789.")
