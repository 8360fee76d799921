"""The event in the body of a delivery.

Source: MLflow's `mlflow.webhooks.types` and `mlflow.webhooks.delivery`. Fields that aren't used here are not checked.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from bridge.core.errors import BridgeError
from bridge.core.limits import MAX_NAME
from bridge.core.text import Text

DEFAULT_WORKSPACE: Final = "default"


class UnsupportedEvent(BridgeError):
    """The body is not an event that the bridge accepts; `fault` names the invalid field."""

    def __init__(self, message: str, hint: str = "", fault: str = "") -> None:
        super().__init__(message, hint)
        self.fault = fault


class EventKind(StrEnum):
    """The kinds of events that the bridge accepts."""

    VERSION_CREATED = "model_version.created"
    ALIAS_CREATED = "model_version_alias.created"
    TAG_SET = "model_version_tag.set"


@dataclass(frozen=True)
class Event:
    """Something happened to one model version.

    `alias`, `tag` (its key), `source` and `run_id` are set if the kind has them. `is_test` marks the event that MLflow
    sends when a webhook is tested.
    """

    kind: EventKind
    model: str
    version: str
    alias: str | None = None
    tag: str | None = None
    source: str | None = None
    run_id: str | None = None
    workspace: str = DEFAULT_WORKSPACE
    is_test: bool = False


def _storable(name: str) -> str:
    """Return the name unchanged: a changed name could be another model's."""
    if "\0" in name:
        raise PydanticCustomError("nul", "it contains a NUL character, which can't be stored")
    if len(name.encode()) > MAX_NAME:
        raise PydanticCustomError("too_long", "it is longer than {limit} bytes", {"limit": MAX_NAME})
    return name


_Name = Annotated[str, StringConstraints(min_length=1), AfterValidator(_storable)]

_Optional = Annotated[Text | None, BeforeValidator(lambda value: None if value == "" else value)]

_Version = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")]


class _Envelope(BaseModel):
    entity: str
    action: str
    data: dict[str, Any]
    workspace: str | None = None


class _VersionCreated(BaseModel):
    model: _Name = Field(validation_alias="name")
    version: _Version
    source: _Optional = None
    run_id: _Optional = None


class _AliasCreated(BaseModel):
    model: _Name = Field(validation_alias="name")
    version: _Version
    alias: _Name


class _TagSet(BaseModel):
    model: _Name = Field(validation_alias="name")
    version: _Version
    tag: _Name = Field(validation_alias="key")


_DATA_MODELS: Final[dict[EventKind, type[BaseModel]]] = {
    EventKind.VERSION_CREATED: _VersionCreated,
    EventKind.ALIAS_CREATED: _AliasCreated,
    EventKind.TAG_SET: _TagSet,
}

_TESTS: Final[dict[EventKind, dict[str, object]]] = {
    EventKind.VERSION_CREATED: {
        "name": "example_model",
        "version": "1",
        "source": "models:/123",
        "run_id": "abcd1234abcd5678",
        "tags": {"example_key": "example_value"},
        "description": "An example model version",
    },
    EventKind.ALIAS_CREATED: {"name": "example_model", "alias": "example_alias", "version": "1"},
    EventKind.TAG_SET: {"name": "example_model", "version": "1", "key": "example_key", "value": "example_value"},
}
"""The data of MLflow's test events, which are marked by nothing else: `example()` in `mlflow.webhooks.types`."""


def parse(body: bytes) -> Event:
    """Parse the body of a delivery; raises only `UnsupportedEvent`, whatever the bytes."""
    try:
        envelope = _Envelope.model_validate_json(body)
    except ValidationError as error:
        raise _invalid("an MLflow event", error) from error
    try:
        kind = EventKind(f"{envelope.entity}.{envelope.action}")
    except ValueError as error:
        raise UnsupportedEvent(
            "the bridge doesn't support this kind of event", f"register the webhook only for {', '.join(EventKind)}"
        ) from error
    try:
        data = _DATA_MODELS[kind].model_validate(envelope.data)
    except ValidationError as error:
        raise _invalid(f"a {kind} event", error) from error
    return Event(
        kind=kind,
        workspace=envelope.workspace or DEFAULT_WORKSPACE,
        is_test=_TESTS[kind].items() <= envelope.data.items(),
        **vars(data),
    )


def _invalid(expected: str, error: ValidationError) -> UnsupportedEvent:
    """Name the first invalid field, never its value."""
    first = error.errors(include_input=False, include_url=False)[0]
    fault = f"{'.'.join(str(part) for part in first['loc']) or 'the body'}: {first['msg']}"
    return UnsupportedEvent(
        f"the body is not {expected} ({fault})", "send only MLflow's model registry webhooks to this address", fault
    )


def json_schema(kind: EventKind) -> dict[str, Any]:
    """Return the JSON schema of the bodies of that kind, for the API's description."""
    entity, _, action = kind.partition(".")
    members = {"entity": {"const": entity}, "action": {"const": action}, "data": _DATA_MODELS[kind].model_json_schema()}
    return {"type": "object", "properties": members, "required": list(members)}
