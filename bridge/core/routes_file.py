"""Routes from a TOML file, one `[[route]]` each; what is wrong in it is named all at once, with line and mend."""

import io
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from bridge.core.errors import BridgeError
from bridge.core.events import EventKind
from bridge.core.payload import MAX_EVENT_TYPE
from bridge.core.routing import DEFAULT_KINDS, OUR_TAGS, DispatchMethod, Route

MAX_FILE: Final = 64 * 1024
"""Characters; some five hundred routes."""

Repository = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/\.?[A-Za-z0-9_-][A-Za-z0-9._-]{0,98}$")
]
"""`owner/name`; neither part is `.` or `..`."""

EventType = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EVENT_TYPE, pattern=r"^[^\x00-\x1f\x7f]+$")]

_Glob = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]+$")]
_Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
_WorkflowFile = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.ya?ml$")]
_Path = tuple[str | int, ...]

_ONLY: Final = {"alias": EventKind.ALIAS_CREATED, "tag": EventKind.TAG_SET}
"""Keys whose value only events of one kind have."""

_PLAIN: Final = {"string_pattern_mismatch": "it is not of that form", "model_type": "it is no table"}
"""What pydantic says in terms of its own."""


class RoutesInvalid(BridgeError):
    """The file is no list of routes; `problems` names everything that is wrong, one line each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class _Inputs(BaseModel):
    """The closed list of what a route may tell the workflow: never where to push, nor with which credentials."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    builder: _Line | None = Field(default=None, description="give mlflow or layered")
    base_image: _Line | None = Field(
        default=None, alias="base-image", description="give an image, such as python:3.12-slim"
    )
    platforms: _Line | None = Field(default=None, description="give linux/amd64 or linux/arm64")
    smoke_test: Literal["off", "ping", "invoke"] | None = Field(
        default=None, alias="smoke-test", description="give off, ping or invoke"
    )


class _Route(BaseModel):
    """A `[[route]]`; a field's description is the mend in messages."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    name: _Line | None = Field(default=None, description="give it a short name of its own, in one line")
    events: list[Annotated[EventKind, Field(strict=False)]] | None = Field(
        default=None, min_length=1, description=f"give a list of {', '.join(EventKind)}"
    )
    model: _Glob | None = Field(default=None, description="give a glob of model names, such as iris-*")
    alias: _Glob | None = Field(default=None, description="give a glob of aliases, such as champion")
    tag: _Glob | None = Field(default=None, description="give a glob of tags' keys, such as stage")
    repository: Repository = Field(description="give the repository whose workflow is to run, as owner/name")
    event_type: EventType | None = Field(
        default=None, description=f"give the workflow's repository_dispatch type, {MAX_EVENT_TYPE} characters at most"
    )
    dispatch: Annotated[DispatchMethod, Field(strict=False)] = Field(
        default=DispatchMethod.REPOSITORY, description=f"give {' or '.join(DispatchMethod)}"
    )
    workflow: _WorkflowFile | None = Field(
        default=None, description="give the name of the workflow's file, such as on-mlflow-event.yml"
    )
    ref: _Line | None = Field(
        default=None, description="give the branch or tag that the workflow is to run on, such as main"
    )
    inputs: _Inputs = Field(
        default_factory=_Inputs, description="give a table of builder, base-image, platforms and smoke-test"
    )

    def route(self, number: int, event_type: str) -> Route:
        """Give the route, the `number`th of its file."""
        return Route(
            name=self.name or f"route {number}",
            repository=self.repository,
            event_type=self.event_type or event_type,
            kinds=frozenset(self.events or _implied({"alias": self.alias, "tag": self.tag})),
            model=self.model,
            alias=self.alias,
            tag=self.tag,
            inputs=self.inputs.model_dump(by_alias=True, exclude_none=True),
            dispatch=self.dispatch,
            workflow=self.workflow,
            ref=self.ref,
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    route: list[_Route] = Field(min_length=1, description="begin each route with [[route]]")


def read(text: str, *, name: str, event_type: str) -> tuple[Route, ...]:
    """Give the routes in `text`; raises `RoutesInvalid`, and nothing else whatever the text.

    `name` is what messages call the file, `event_type` that of the routes which name none.
    """
    content = _content(text, name)
    wrong = [*_misfits(content), *_contradictions(content)]
    if wrong:
        places = _places(text)
        told = sorted({(_line(path, places), f"{_names(path)[-1]} {said}") for path, said in wrong})
        raise RoutesInvalid(tuple(f"{name}:{line}: {said}" for line, said in told))
    routes = _File.model_validate(content).route
    return tuple(route.route(number, event_type) for number, route in enumerate(routes, 1))


def _content(text: str, name: str) -> dict[str, Any]:
    if len(text) > MAX_FILE:
        raise RoutesInvalid((f"{name} is longer than {MAX_FILE} characters: give a file of routes",))
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        raise RoutesInvalid((f"{name}:{line}: this is no TOML ({error}): mend it there, or just before",)) from error
    except (RecursionError, ValueError) as error:  # a number may have too many digits for Python
        raise RoutesInvalid((f"{name} can't be read ({type(error).__name__}): give a file of routes",)) from error


def _misfits(content: Mapping[str, Any]) -> Iterator[tuple[_Path, str]]:
    """Give what is missing, unknown, or not of the form that it should have."""
    try:
        _File.model_validate(content)
    except ValidationError as error:
        for one in error.errors(include_input=False, include_url=False, include_context=False):
            yield one["loc"], _said(_names(one["loc"]), one["type"], one["msg"])


def _said(names: tuple[str, ...], kind: str, said: str) -> str:
    fields = _fields(names)
    if kind == "extra_forbidden":
        return f"is unknown: leave it out, or use one of {', '.join(fields)}"
    hint = fields[names[-1]].description
    return f"is missing: {hint}" if kind == "missing" else f"is wrong ({_PLAIN.get(kind, said)}): {hint}"


def _fields(names: tuple[str, ...]) -> dict[str, FieldInfo]:
    """Give what the table may hold in which the last of the names stands, by the names that the file uses."""
    table = (_File, _Route, _Inputs)[len(names) - 1]
    return {field.alias or name: field for name, field in table.model_fields.items()}


def _contradictions(content: Mapping[str, Any]) -> Iterator[tuple[_Path, str]]:
    """Give what each stands well by itself and not together; what is of no right form was told of already."""
    tables = content.get("route")
    names: set[str] = set()
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if isinstance(table, dict):
            yield from ((("route", index, key), said) for key, said in (*_two_ways(table), *_never_fits(table)))
            if (name := table.get("name")) is not None and str(name) in names:
                yield ("route", index, "name"), "is an earlier route's already: give each its own"
            names.add(str(name))


def _two_ways(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    way = table.get("dispatch", DispatchMethod.REPOSITORY)
    for key in ("workflow", "ref"):
        if way == DispatchMethod.WORKFLOW and key not in table:
            yield key, f"is missing: {_Route.model_fields[key].description}"
        if way == DispatchMethod.REPOSITORY and key in table:
            yield key, f'is of no use here: leave it out, or add dispatch = "{DispatchMethod.WORKFLOW}"'
    if way == DispatchMethod.WORKFLOW and "event_type" in table:
        yield "event_type", f'is of no use here: leave it out, or take dispatch = "{DispatchMethod.WORKFLOW}" out'


def _never_fits(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    events = table.get("events")
    for key, kind in _ONLY.items():
        if key in table and isinstance(events, list) and any(event != kind for event in events):
            yield key, f"is there in {kind} alone: take the other events into a route of their own"
    if all(key in table for key in _ONLY):
        yield "tag", "never comes with an alias: make two routes of it"
    if str(table.get("tag")).startswith(OUR_TAGS):
        yield "tag", f"fits only tags of the runs' own ({OUR_TAGS}*), which are never dispatched: give another"


def _implied(keys: Mapping[str, str | None]) -> frozenset[EventKind]:
    """Give the kinds of a route that names none."""
    named = [kind for key, kind in _ONLY.items() if keys[key] is not None]
    return frozenset(named) or DEFAULT_KINDS


def _names(path: _Path) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))


def _line(path: _Path, places: Mapping[_Path, int]) -> int:
    """Give the line of the key, else of the table that it is missing from."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, 1)


def _places(text: str) -> dict[_Path, int]:
    """Give the line on which each key of a file that is TOML begins; tomllib tells of none.

    The text is parsed again in pieces that grow by a line: once a piece is TOML, a statement has ended, and the keys
    that are new in it are that statement's. Each `[[route]]` begins a new piece.
    """
    places: dict[_Path, int] = {}
    piece, begins, route = "", 1, -1
    for number, line in enumerate(io.StringIO(text), 1):
        if number == begins and _toml(line) == {"route": [{}]}:
            piece, route = "", route + 1
        piece += line
        content = _toml(piece)
        if content is None:
            continue
        for path in _paths(content):
            places.setdefault(("route", route, *path[2:]) if route >= 0 and len(path) > 1 else path, begins)
        begins = number + 1
    return places


def _toml(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _paths(value: object, path: _Path = ()) -> Iterator[_Path]:
    """Give the path of everything in `value`, tables before what they hold."""
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _paths(part, (*path, key))
