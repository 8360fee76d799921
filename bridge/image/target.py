"""Which model version a run is about, from the bridge's payload or from what a person typed."""

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
    """A model, and its version or an alias that tells it; `smoke_test` is empty where nobody chose."""

    model: str
    version: str
    alias: str
    smoke_test: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What the payload says of the image's making."""

    @classmethod
    def read(cls, settings: ImageSettings) -> "Target":
        """Take the payload where there is one, else the inputs. Raises `InvalidInput`.

        A version that an earlier job found stands above both, so that all jobs of a run are about the same one.
        """
        said = _from_payload(settings.payload) if settings.payload else {}
        inputs = _checked_inputs(said.get("inputs", {}))
        model = said.get("model", {})
        return cls(
            model=_text("model", model.get("name") or settings.model),
            version=_version(settings.version or model.get("version") or ""),
            alias=_text("alias", model.get("alias") or settings.alias, empty=True),
            smoke_test=_smoke_test(inputs.get("smoke-test") or settings.smoke_test),
            inputs=inputs,
        )

    def find(self, mlflow: MlflowApi) -> ModelVersion:
        """Ask MLflow for the version. Raises `InvalidInput` where neither version nor alias is given."""
        if self.version:
            return mlflow.version(self.model, self.version)
        if self.alias:
            return mlflow.version_by_alias(self.model, self.alias)
        raise InvalidInput(f"model {self.model!r}: neither version nor alias is given: give one of them")


def _from_payload(text: str) -> dict[str, dict[str, Any]]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("payload is no JSON: leave it empty when you start the workflow by hand") from error
    if not isinstance(said, dict) or said.get("schema") != 1:
        raise InvalidInput(
            "payload is not of schema 1, the one that this workflow reads: use bridge and workflow of one release"
        )
    parts = {key: said.get(key) or {} for key in ("model", "inputs")}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise InvalidInput("payload: model and inputs must be objects: use bridge and workflow of one release")
    return parts


def _checked_inputs(inputs: Mapping[str, object]) -> dict[str, str]:
    for name, value in inputs.items():
        if name not in INPUTS or not isinstance(value, str):
            raise InvalidInput(
                f"payload: this workflow knows no input {name[:40]!r} with the value {str(value)[:40]!r}: "
                "take it out of the route"
            )
    return {name: str(value) for name, value in inputs.items()}


def _text(name: str, value: object, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise InvalidInput(f"{name} is missing: give the name that MLflow shows")
    if "\0" in value:  # MLflow allows it, and no program takes it as an argument
        raise InvalidInput(f"{name} {value[:80]!r} has a NUL: rename it in MLflow")
    return value


def _version(value: object) -> str:
    if value == "" or (isinstance(value, str) and value.isascii() and value.isdecimal()):
        return str(value)
    raise InvalidInput(f"version {str(value)[:40]!r} is no number: give the version that MLflow shows")


def _smoke_test(value: object) -> str:
    if value == "" or value in SMOKE_TESTS:
        return str(value)
    raise InvalidInput(f"smoke-test {str(value)[:40]!r} is not one of {', '.join(SMOKE_TESTS)}: use one of them")
