"""What a delivery's body says.

Source: MLflow's `mlflow.webhooks.types` and `mlflow.webhooks.delivery`. Fields that we don't use are not looked at.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from bridge.core.errors import BridgeError
from bridge.core.text import Text

DEFAULT_WORKSPACE: Final = "default"


class UnsupportedEvent(BridgeError):
    """The body is no event, or one of a kind that the bridge doesn't accept; `fault` names the invalid field."""

    def __init__(self, message: str, fault: str = "") -> None:
        self.fault = fault
        super().__init__(message)


class EventKind(StrEnum):
    """The kinds of events that the bridge takes."""

    VERSION_CREATED = "model_version.created"
    ALIAS_CREATED = "model_version_alias.created"
    TAG_SET = "model_version_tag.set"


@dataclass(frozen=True)
class Event:
    """Something happened to one model version.

    `alias`, `tag` (its key), `source` and `run_id` are there as far as the kind has them. `is_test` marks the event
    that MLflow sends when somebody tests a webhook.
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


LONGEST_NAME: Final = 1200
"""Bytes (UTF-8) of a model's name, and of an alias's: PostgreSQL keeps both in one entry of an index, of 2,704 at most.

MLflow's own columns hold 256 characters, but SQLite holds nobody to that.
"""


def _storable(name: str) -> str:
    """Return the name unchanged: a changed name could be another model's."""
    if "\0" in name:
        raise PydanticCustomError("nul", "it contains a NUL, which can't be stored, give it another one")
    if len(name.encode()) > LONGEST_NAME:
        raise PydanticCustomError(
            "too_long", "it is longer than {longest} bytes, give it a shorter one", {"longest": LONGEST_NAME}
        )
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


_SHAPES: Final[dict[EventKind, type[BaseModel]]] = {
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
"""What `test_webhook` sends; nothing else marks it (the `example()` payloads in `mlflow.webhooks.types`)."""


def parse(body: bytes) -> Event:
    """Read the body of a delivery; raises `UnsupportedEvent`, and nothing else whatever the bytes."""
    envelope = _envelope(body)
    kind = _kind(envelope)
    try:
        data = _SHAPES[kind].model_validate(envelope.data)
    except ValidationError as error:
        raise _unreadable(f"a {kind} event", error) from error
    return Event(
        kind=kind,
        workspace=envelope.workspace or DEFAULT_WORKSPACE,
        is_test=_TESTS[kind].items() <= envelope.data.items(),
        **vars(data),
    )


def _envelope(body: bytes) -> _Envelope:
    try:
        return _Envelope.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable("an event of MLflow's", error) from error


def _kind(envelope: _Envelope) -> EventKind:
    try:
        return EventKind(f"{envelope.entity}.{envelope.action}")
    except ValueError as error:
        kinds = ", ".join(EventKind)
        raise UnsupportedEvent(
            f"this kind of event is not one that the bridge takes: register the webhook for {kinds} only"
        ) from error


def _unreadable(what: str, error: ValidationError) -> UnsupportedEvent:
    """Name the first field that is wrong, never its value."""
    first = error.errors(include_input=False, include_url=False)[0]
    fault = f"{'.'.join(str(part) for part in first['loc']) or 'the whole'}: {first['msg']}"
    return UnsupportedEvent(
        f"the body is not {what} ({fault}): only MLflow's model registry webhooks are accepted here", fault
    )


def json_schema(kind: EventKind) -> dict[str, Any]:
    """Return the JSON schema of the bodies of that kind, for the API's description."""
    entity, _, action = kind.partition(".")
    members = {"entity": {"const": entity}, "action": {"const": action}, "data": _SHAPES[kind].model_json_schema()}
    return {"type": "object", "properties": members, "required": list(members)}
