import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from bridge.core.errors import BridgeError
from bridge.image.builders.layered.requirements import Requirements, read
from bridge.image.errors import UnsafeMetadata, UnsupportedModel

MLFLOW = "3.17.2"


def texts(requirements: str, **others: str) -> dict[str, str]:
    env = yaml.safe_dump({"python": "3.11.7", "dependencies": ["-r requirements.txt"]})
    return {"python_env.yaml": env, "requirements.txt": requirements} | others


def test_named_requirements_are_taken_as_they_are_and_mlflow_is_not_added_twice() -> None:
    said = read(
        texts("mlflow==3.17.2\nnumpy<3  # a remark\n\n# all of it\nuvicorn[standard]; python_version > '3.8'\n"), "9"
    )
    assert said.lines == ("mlflow==3.17.2", "numpy<3", 'uvicorn[standard]; python_version > "3.8"')
    assert said.names == ("mlflow", "numpy", "uvicorn")


def test_mlflow_is_added_in_the_models_own_release_where_the_model_does_not_ask_for_it() -> None:
    assert read(texts("scikit_learn==1.9.1"), MLFLOW).lines == ("mlflow==3.17.2", "scikit_learn==1.9.1")


def test_the_models_own_constraints_are_read_and_checked_like_requirements() -> None:
    said = read(texts("humanize\n-c constraints.txt", **{"constraints.txt": "humanize<4.10"}), MLFLOW)
    assert said == Requirements(("mlflow==3.17.2", "humanize"), ("humanize<4.10",))
    with pytest.raises(UnsupportedModel, match=r"constraints\.txt"):
        read(texts("-c constraints.txt", **{"constraints.txt": "--index-url http://evil"}), MLFLOW)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url http://evil", "-i http://evil", "--extra-index-url=http://evil", "--find-links /",
        "-r /etc/passwd", "-e .", "-c /etc/passwd", "-c ../constraints.txt", "--trusted-host evil",
        "  --no-binary :all:", "-",
    ],
)  # fmt: skip
def test_no_line_of_a_model_becomes_an_option(line: str) -> None:
    with pytest.raises(UnsupportedModel) as refused:
        read(texts(f"numpy\n{line}\n"), MLFLOW)
    assert refused.value.mlflow_can_build


@pytest.mark.parametrize(
    "line",
    [
        "code/mine.whl", "./mine", "/etc", "http://evil/x.whl", "git+https://evil/x", "numpy --hash=sha256:00",
        "numpy \\", "numpy @ http://evil/x.whl", "mine @ file:///etc", "numpy==1 numpy==2", "a\x0b--index-url b",
    ],
)  # fmt: skip
def test_what_is_no_named_package_is_left_to_the_other_builder(line: str) -> None:
    with pytest.raises(UnsupportedModel) as refused:
        read(texts(line), MLFLOW)
    assert refused.value.mlflow_can_build


@pytest.mark.parametrize(
    "line",
    [
        f"a; {'(' * 900}",
        f"a; {'(' * 400}python_version > '3'{')' * 400}",
        f"a=={'1' * 6_000}",
        f"a=={'1' * 900}",
        "a" * 100_000,
        "a; python_version > 'x\"y'",
        "a; os_name == 'x\" or os_name == \"y'",
        f"a[{'b,' * 400}b]",
        "a\0b",
    ],
)
@pytest.mark.parametrize("file", ["requirements.txt", "constraints.txt"])
def test_a_line_that_a_parser_could_fail_on_is_read_or_refused_by_the_name_of_its_file(file: str, line: str) -> None:
    try:
        found = read(
            texts("-c constraints.txt") | {file: f"-c constraints.txt\n{line}" if file[0] == "r" else line}, MLFLOW
        )
    except BridgeError as error:
        assert file in str(error)  # noqa: PT017  some are requirements
    else:
        assert found.names[0] == "mlflow"
        assert all(str(Requirement(each)) == each for each in (*found.lines, *found.constraints))


def test_a_file_with_too_many_requirements_is_refused_by_its_name() -> None:
    with pytest.raises(UnsafeMetadata, match=r"requirements\.txt"):
        read(texts("numpy\n" * 200_000), MLFLOW)


def test_spaces_behind_pip_take_no_time_that_grows_with_their_square() -> None:
    conda = yaml.safe_dump({"dependencies": ["pip" + " " * 300_000 + "\nx"]})
    with pytest.raises(UnsupportedModel, match=r"conda\.yaml"):
        read(texts("numpy", **{"conda.yaml": conda}), MLFLOW)


def test_no_line_can_name_a_variable_of_the_builds() -> None:
    with pytest.raises(UnsafeMetadata, match="secret"):
        read(texts('numpy; python_version > "${UV_DEFAULT_INDEX}"'), MLFLOW)


@pytest.mark.parametrize("asked", ["openjdk", "conda-forge::gdal=3", {"npm": ["x"]}, 7])
def test_what_only_conda_installs_is_left_to_the_other_builder(asked: object) -> None:
    conda = yaml.safe_dump({"dependencies": ["python=3.11.7", "pip<=23", asked, {"pip": ["numpy"]}]})
    with pytest.raises(UnsupportedModel, match=r"conda\.yaml") as refused:
        read(texts("numpy", **{"conda.yaml": conda}), MLFLOW)
    assert refused.value.mlflow_can_build


def test_the_conda_file_that_mlflow_writes_is_no_hindrance() -> None:
    conda = yaml.safe_dump({"channels": ["conda-forge"], "dependencies": ["python=3.11.7", "pip<=23", {"pip": ["x"]}]})
    assert read(texts("numpy", **{"conda.yaml": conda}), MLFLOW).names == ("mlflow", "numpy")


def test_an_environment_that_requires_more_than_its_file_is_left_to_the_other_builder() -> None:
    env = yaml.safe_dump({"dependencies": ["-r requirements.txt", "more"]})
    with pytest.raises(UnsupportedModel) as refused:
        read({"python_env.yaml": env, "requirements.txt": ""}, MLFLOW)
    assert refused.value.mlflow_can_build


@given(st.text())
def test_whatever_a_model_asks_only_named_packages_come_out(text: str) -> None:
    try:
        said = read(texts(text), MLFLOW)
    except BridgeError:
        return
    for line in said.lines:
        assert not line.startswith("-")
        assert "\n" not in line
        assert "$" not in line
        assert str(Requirement(line)) == line
