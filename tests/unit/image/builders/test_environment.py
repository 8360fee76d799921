import pytest

from bridge.image.builders.environment import ENV_MANAGERS, Environment
from bridge.image.errors import InvalidInput


def test_nothing_said_is_the_models_own_python_without_java() -> None:
    assert Environment.read("", install_java=False).options() == ["--env-manager", "local"]


def test_mlflows_builder_is_told_of_both() -> None:
    chosen = Environment.read("virtualenv", install_java=True)
    assert chosen.options() == ["--env-manager", "virtualenv", "--install-java=true"]
    assert Environment.read("conda", install_java=False).options()[-1] == "--install-java=false"


@pytest.mark.parametrize("value", ["uv", "LOCAL", "local --help", "venv\n"])
def test_another_env_manager_is_refused_with_those_that_there_are(value: str) -> None:
    with pytest.raises(InvalidInput, match="is not one of local, virtualenv, conda"):
        Environment.read(value, install_java=False)


def test_java_without_the_image_that_has_it_is_refused_with_the_mend() -> None:
    with pytest.raises(InvalidInput, match="set env-manager to virtualenv or conda"):
        Environment.read("local", install_java=True)


@pytest.mark.parametrize("value", ENV_MANAGERS)
def test_the_options_are_ones_that_mlflows_builder_knows(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_ENV_MANAGER_CONDA_WARNING", "true")
    from mlflow.models.cli import commands

    options = Environment.read(value, install_java=value != "local").options()
    given = commands.commands["build-docker"].make_context("build-docker", ["-m", "m", *options]).params
    assert given["env_manager"] == value
    assert given["install_java"] in (None, True)
