"""Reads the metadata in a model's own files, and checks it before anything uses it.

`MLmodel` and `python_env.yaml` are written by whoever logged the model. MLflow copies the Python version into a
Dockerfile as it is, and its own version decides what is installed on the runner: so both must be plain releases.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.image.errors import UnsafeMetadata, UnsupportedModel
from bridge.image.model_yaml import mapping

MLMODEL = "MLmodel"
PYTHON_ENV = "python_env.yaml"
SERVING_EXAMPLE = "serving_input_example.json"

_RELEASE = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")
_OLDEST_MLFLOW = (2, 16, 0)
"""The first MLflow that runs without pkg_resources, which new setuptools don't include; older ones can't build."""
_OLDEST_PYTHON = (3, 8, 0)
_JAVA_FLAVORS = frozenset({"h2o", "johnsnowlabs", "spark"})
"""MLflow builds these on ubuntu with pyenv, which `--env-manager local` refuses (mlflow.models.docker_utils)."""


@dataclass(frozen=True)
class ModelMetadata:
    """Checked metadata: two releases `X.Y.Z`, and whether there is an example request for the smoke test."""

    mlflow_version: str
    python_version: str
    has_serving_example: bool


def read(mlmodel: str, python_env: str, *, java: bool = False) -> ModelMetadata:
    """Read the texts of `MLmodel` and `python_env.yaml`; `java` says whether the image will have Java.

    Raises `UnsafeMetadata` if a value must not reach a build, `UnsupportedModel` if no image can serve the model.
    """
    model = mapping(MLMODEL, mlmodel)
    flavors = flavors_of(model)
    if (flavor := java_flavor(flavors)) and not java:
        raise UnsupportedModel(
            f"{MLMODEL} has the flavor {flavor}, which needs Java in the image",
            "set the inputs install-java to true and env-manager to virtualenv",
        )
    environment = flavors["python_function"].get("env")
    if not isinstance(environment, dict) or environment.get("virtualenv") != PYTHON_ENV:
        # MLflow reads the file that is named here: it must be the one that is checked.
        raise UnsupportedModel(
            f"{MLMODEL} doesn't name {PYTHON_ENV} as the environment of python_function",
            f"log the model with MLflow {_dotted(_OLDEST_MLFLOW)} or newer",
        )
    return ModelMetadata(
        mlflow_version=_release(MLMODEL, "mlflow_version", model.get("mlflow_version"), _OLDEST_MLFLOW),
        python_version=_release(PYTHON_ENV, "python", mapping(PYTHON_ENV, python_env).get("python"), _OLDEST_PYTHON),
        has_serving_example=_has_serving_example(model.get("saved_input_example_info")),
    )


def flavors_of(model: Mapping[object, object]) -> dict[object, dict[object, object]]:
    """Return the flavors in the map of `MLmodel`; `python_function` is among them, and a map.

    Raises `UnsupportedModel` if it isn't.
    """
    flavors = model.get("flavors")
    if not isinstance(flavors, dict) or not isinstance(flavors.get("python_function"), dict):
        raise UnsupportedModel(
            f"{MLMODEL} has no python_function flavor, so the model can't be served",
            "log the model with a python_function flavor",
        )
    return flavors


def java_flavor(flavors: Iterable[object]) -> str:
    """Return the first of `flavors` whose image needs Java; empty if none does."""
    return min(_JAVA_FLAVORS & {str(flavor) for flavor in flavors}, default="")


def _has_serving_example(info: object) -> bool:
    if info is None:
        return False
    if not isinstance(info, dict):
        raise UnsafeMetadata(
            f"{MLMODEL} has saved_input_example_info: {_shown(info)}, which is not a mapping", "log the model again"
        )
    return info.get("serving_input_path") == SERVING_EXAMPLE


def _release(file: str, key: str, value: object, oldest: tuple[int, int, int]) -> str:
    match = _RELEASE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise UnsafeMetadata(
            f"{file} has {key}: {_shown(value)}, which is not a plain release number such as {_dotted(oldest)}",
            "log the model again with a released version",
        )
    if tuple(int(number) for number in match.groups()) < oldest:
        raise UnsupportedModel(
            f"{file} has {key}: {value}, but only {_dotted(oldest)} or newer can be built",
            "log the model again with a newer version",
        )
    return match.group()


def _shown(value: object) -> str:
    """Quote a text; for anything else, name only its type, because it may be long."""
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(str(number) for number in version)
