"""The inputs `env-manager` and `install-java`: what MLflow's builder is asked for, and what it makes of that.

MLflow's image for them is ubuntu with Python made by pyenv or conda. It is not built here: that takes much network.
"""

import sys
from pathlib import Path

import mlflow
import pytest

from bridge.image.builders.choice import Builder
from bridge.image.docker import build_with_mlflow
from bridge.image.errors import BuildFailed
from tests.e2e.workflow_stage import WorkflowStage, annotations, by_hand, ended, ended_in, tree_with

pytestmark = pytest.mark.filterwarnings("default")  # MLflow warns of its own ways

PYTHON = ".".join(str(part) for part in sys.version_info[:3])
DOCKER = """\
#!/bin/sh
test "$1" = build && cp Dockerfile "{folder}"
exit 1
"""


def dockerfile(monkeypatch: pytest.MonkeyPatch, folder: Path, env_manager: str, *, java: bool) -> str:
    """Give the Dockerfile that MLflow hands to the engine for a model, with a `docker` that keeps just that."""
    model = folder / "model"
    mlflow.pyfunc.save_model(str(model), loader_module="json", pip_requirements=["cloudpickle"])
    docker = folder / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER.format(folder=folder))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{Path(sys.executable).parent}", prepend=":")
    options = Builder(env_manager=env_manager, install_java=java).mlflow_options()
    with pytest.raises(BuildFailed):
        build_with_mlflow(model, "any", mlflow_version=mlflow.__version__, python_version=PYTHON, options=options)
    return (folder / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("env_manager", "java", "has", "lacks"),
    [
        ("virtualenv", True, ["FROM ubuntu:", "pyenv", "openjdk"], ["miniconda"]),
        # Told false, MLflow 3.17 brings Java with ubuntu all the same.
        ("conda", False, ["FROM ubuntu:", "miniconda"], ["pyenv"]),
    ],
)
def test_mlflow_makes_the_image_that_the_inputs_ask_for(
    env_manager: str, java: bool, has: list[str], lacks: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = dockerfile(monkeypatch, tmp_path, env_manager, java=java)
    steps = "\n".join(line for line in said.splitlines() if not line.startswith(("ENV", "COPY")))
    assert [each for each in has if each not in steps] == []
    assert [each for each in lacks if each in steps] == []
    assert f"env_manager='{env_manager}'" in said


def test_the_workflow_hands_both_inputs_to_mlflows_builder(workflows: WorkflowStage, tmp_path: Path) -> None:
    number = workflows.register("with-java")
    tree = tree_with(tmp_path / "tree", env_manager="virtualenv", install_java="true")
    with workflows.github(tree=tree) as github:
        run = ended(github, by_hand(github, model="with-java", version=number, push=False))
    assert run.conclusion == "success", run.failure
    assert workflows.builds[-1][-3:] == ["--env-manager", "virtualenv", "--install-java=true"]


@pytest.mark.parametrize(
    ("env_manager", "java", "said"),
    [
        ("uv", "false", "env-manager 'uv' is not supported: use one of local, virtualenv, conda"),
        (
            "local",
            "true",
            "install-java doesn't work with env-manager local: set env-manager to virtualenv or conda",
        ),
    ],
)
def test_what_mlflow_has_no_image_for_stops_in_resolve(
    env_manager: str, java: str, said: str, workflows: WorkflowStage, tmp_path: Path
) -> None:
    tree = tree_with(tmp_path / "tree", env_manager=env_manager, install_java=java)
    with workflows.github(tree=tree) as github:
        run = ended(github, by_hand(github, model="any", version="1"))
    assert ended_in(run) == "Resolve the version"
    assert annotations(run, "error") == [said]
