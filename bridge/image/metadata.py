"""What a model's own files say of it, checked before anything uses it.

`MLmodel` and `python_env.yaml` are written by whoever logged the model. MLflow puts the Python version as it stands
into a Dockerfile, and its own version decides what gets installed on the runner: so both must be plain releases.
"""

import re
from dataclasses import dataclass

from bridge.image.errors import UnsafeMetadata, UnsupportedModel
from bridge.image.model_yaml import mapping

MLMODEL = "MLmodel"
PYTHON_ENV = "python_env.yaml"
SERVING_EXAMPLE = "serving_input_example.json"

_RELEASE = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")
_MLFLOW_FLOOR = (2, 16, 0)
"""The first MLflow that runs without pkg_resources, which new setuptools lack; older ones can't build."""
_PYTHON_FLOOR = (3, 8, 0)
_JAVA_FLAVORS = frozenset({"h2o", "johnsnowlabs", "spark"})
"""MLflow builds these on ubuntu with pyenv, which `--env-manager local` refuses (mlflow.models.docker_utils)."""


@dataclass(frozen=True)
class ModelMetadata:
    """What a build may rely on: two releases `X.Y.Z`, and whether there is a request to try the image with."""

    mlflow_version: str
    python_version: str
    has_serving_example: bool


def read(mlmodel: str, python_env: str, *, java: bool = False) -> ModelMetadata:
    """Read the texts of `MLmodel` and `python_env.yaml`; `java` says whether the image has Java.

    Raises `UnsafeMetadata` where a value must not reach a build, `UnsupportedModel` where MLflow's builder can't
    serve the model.
    """
    model = mapping(MLMODEL, mlmodel)
    flavors = model.get("flavors")
    if not isinstance(flavors, dict) or not isinstance(flavors.get("python_function"), dict):
        raise UnsupportedModel(
            f"{MLMODEL} names no python_function flavor, and only such models can be served: log it with one"
        )
    needing = sorted(_JAVA_FLAVORS & {str(flavor) for flavor in flavors})
    if needing and not java:
        raise UnsupportedModel(
            f"{MLMODEL} names the flavor {needing[0]}, whose image needs Java: "
            "set the inputs install-java to true and env-manager to virtualenv"
        )
    _check_environment(flavors["python_function"].get("env"))
    return ModelMetadata(
        mlflow_version=_release(MLMODEL, "mlflow_version", model.get("mlflow_version"), _MLFLOW_FLOOR),
        python_version=_release(PYTHON_ENV, "python", mapping(PYTHON_ENV, python_env).get("python"), _PYTHON_FLOOR),
        has_serving_example=_has_serving_example(model.get("saved_input_example_info")),
    )


def _check_environment(env: object) -> None:
    """MLflow reads the file that is named here: it must be the one that we read."""
    if not isinstance(env, dict) or env.get("virtualenv") != PYTHON_ENV:
        raise UnsupportedModel(
            f"{MLMODEL} does not name {PYTHON_ENV} as the environment of python_function: "
            f"log the model with MLflow {_dotted(_MLFLOW_FLOOR)} or newer"
        )


def _has_serving_example(info: object) -> bool:
    if info is None:
        return False
    if not isinstance(info, dict):
        raise UnsafeMetadata(
            f"{MLMODEL} says saved_input_example_info: {_shown(info)}, which is not a map: log it again"
        )
    return info.get("serving_input_path") == SERVING_EXAMPLE


def _release(file: str, key: str, value: object, floor: tuple[int, int, int]) -> str:
    match = _RELEASE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise UnsafeMetadata(
            f"{file} says {key}: {_shown(value)}, which is no plain release such as {_dotted(floor)}: "
            "log the model again with a released version"
        )
    if tuple(int(part) for part in match.groups()) < floor:
        raise UnsupportedModel(
            f"{file} says {key}: {value}, and the oldest that can be built is {_dotted(floor)}: "
            "log the model again with a newer one"
        )
    return match.group()


def _shown(value: object) -> str:
    """Quote a text; for anything else, name only its type, because it may be long."""
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(str(part) for part in version)
