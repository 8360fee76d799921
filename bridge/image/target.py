"""The model version that a run is for, from the bridge's payload or from the workflow's inputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.image.builders.choice import INPUTS
from bridge.image.errors import InvalidInput
from bridge.image.settings import ImageSettings
from bridge.mlflow.client import MlflowApi, ModelVersion

SMOKE_TESTS = ("off", "ping", "invoke")


@dataclass(frozen=True)
class Target:
    """A model, and its version or an alias that points to it; `smoke_test` is empty for the default."""

    model: str
    version: str
    alias: str
    smoke_test: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Inputs of the route, from the payload."""

    @classmethod
    def read(cls, settings: ImageSettings) -> "Target":
        """Read the payload if there is one, else the workflow's inputs. Raises `InvalidInput`."""
        payload = _read_payload(settings.payload) if settings.payload else {}
        inputs = _check_inputs(payload.get("inputs", {}))
        model = payload.get("model", {})
        return cls(
            model=_text("model", model.get("name") or settings.model),
            version=_version(model.get("version") or settings.version or ""),
            alias=_text("alias", model.get("alias") or settings.alias, empty=True),
            smoke_test=_smoke_test(inputs.get("smoke-test") or settings.smoke_test),
            inputs=inputs,
        )

    def find(self, mlflow: MlflowApi) -> ModelVersion:
        """Return the version from MLflow. Raises `InvalidInput` if there is neither a version nor an alias."""
        if self.version:
            return mlflow.version(self.model, self.version)
        if self.alias:
            return mlflow.version_by_alias(self.model, self.alias)
        raise InvalidInput(f"neither a version nor an alias of model {self.model!r} is set", "set one of these inputs")


def _read_payload(text: str) -> dict[str, dict[str, Any]]:
    release = "use the bridge and the workflow of the same release"
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the payload is not JSON", "leave it empty when you start the workflow manually") from error
    if not isinstance(payload, dict) or payload.get("schema") != 1:
        raise InvalidInput("the payload does not have schema 1, the only one that this workflow supports", release)
    sections = {key: payload.get(key) or {} for key in ("model", "inputs")}
    if not all(isinstance(section, dict) for section in sections.values()):
        raise InvalidInput("model or inputs of the payload is not an object", release)
    return sections


def _check_inputs(inputs: Mapping[str, object]) -> dict[str, str]:
    for name, value in inputs.items():
        if name not in INPUTS or not isinstance(value, str):
            raise InvalidInput(
                f"the payload has the unknown input {name[:40]!r} with the value {str(value)[:40]!r}",
                "remove it from the route",
            )
    return {name: str(value) for name, value in inputs.items()}


def _text(name: str, value: object, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise InvalidInput(f"{name} is missing", "use the name that MLflow shows")
    if "\0" in value:  # allowed in MLflow, but impossible in a program's argument
        raise InvalidInput(f"{name} {value[:80]!r} contains a NUL character", "rename it in MLflow")
    return value


def _version(value: object) -> str:
    if value == "" or (isinstance(value, str) and value.isascii() and value.isdecimal()):
        return str(value)
    raise InvalidInput(f"version {str(value)[:40]!r} is not a number", "use the version that MLflow shows")


def _smoke_test(value: object) -> str:
    if value == "" or value in SMOKE_TESTS:
        return str(value)
    raise InvalidInput(f"smoke-test {str(value)[:40]!r} is unknown", f"use one of {', '.join(SMOKE_TESTS)}")
