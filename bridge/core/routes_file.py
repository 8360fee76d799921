"""Routes from a TOML file, one `[[route]]` each. All problems of a file are reported at once."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from bridge.core.errors import BridgeError, Problem
from bridge.core.events import EventKind
from bridge.core.limits import MAX_EVENT_TYPE, MAX_GLOB, MAX_LINE, MAX_ROUTES_FILE
from bridge.core.routing import DEFAULT_KINDS, OUR_TAGS, DispatchMethod, Route
from bridge.core.text import clean

Repository = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/\.?[A-Za-z0-9_-][A-Za-z0-9._-]{0,98}$")
]
"""`owner/name`; neither part is `.` or `..`."""

EventType = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EVENT_TYPE, pattern=r"^[^\x00-\x1f\x7f]+$")]

_Glob = Annotated[str, StringConstraints(min_length=1, max_length=MAX_GLOB, pattern=r"^[^\x00]+$")]
_Line = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LINE, pattern=r"^[^\x00-\x1f\x7f]+$")]
_WorkflowFile = Annotated[str, StringConstraints(max_length=MAX_LINE, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.ya?ml$")]

_KIND_OF_KEY: Final = {"alias": EventKind.ALIAS_CREATED, "tag": EventKind.TAG_SET}
"""Keys that only events of one kind have."""

_PLAIN: Final = {"string_pattern_mismatch": "it has the wrong format", "model_type": "it is not a table"}
"""Replacements for pydantic's technical messages."""


class RoutesInvalid(BridgeError):
    """The file is not a list of routes; `problems` has everything that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class _Table(BaseModel):
    """A table of the file. A field's description is the hint if its value is invalid or missing."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Inputs(_Table):
    """All inputs that a route may set: neither the registry nor credentials are among them."""

    builder: _Line | None = Field(default=None, description="use mlflow or layered")
    base_image: _Line | None = Field(
        default=None, alias="base-image", description="use the name of an image, such as python:3.12-slim"
    )
    platforms: _Line | None = Field(default=None, description="use linux/amd64 or linux/arm64")
    smoke_test: Literal["off", "ping", "invoke"] | None = Field(
        default=None, alias="smoke-test", description="use off, ping or invoke"
    )


class _Route(_Table):
    name: _Line | None = Field(default=None, description="use a short, unique name on one line")
    events: list[Annotated[EventKind, Field(strict=False)]] | None = Field(
        default=None, min_length=1, description=f"use a list of {', '.join(EventKind)}"
    )
    model: _Glob | None = Field(default=None, description="use a glob of model names, such as iris-*")
    alias: _Glob | None = Field(default=None, description="use a glob of aliases, such as champion")
    tag: _Glob | None = Field(default=None, description="use a glob of tag keys, such as stage")
    repository: Repository = Field(description="set it to the repository of the workflow, as owner/name")
    event_type: EventType | None = Field(
        default=None, description=f"use the workflow's repository_dispatch type, at most {MAX_EVENT_TYPE} characters"
    )
    dispatch: Annotated[DispatchMethod, Field(strict=False)] = Field(
        default=DispatchMethod.REPOSITORY, description=f"use {' or '.join(DispatchMethod)}"
    )
    workflow: _WorkflowFile | None = Field(
        default=None, description="set it to the name of the workflow's file, such as on-mlflow-event.yml"
    )
    ref: _Line | None = Field(
        default=None, description="set it to the branch or tag on which the workflow runs, such as main"
    )
    inputs: _Inputs = Field(
        default_factory=_Inputs,
        description="use a table with any of the keys builder, base-image, platforms and smoke-test",
    )

    def route(self, number: int, event_type: str) -> Route:
        """Return the route with its defaults; it is the `number`th of its file."""
        kinds = self.events or [kind for key, kind in _KIND_OF_KEY.items() if getattr(self, key) is not None]
        return Route(
            name=self.name or f"route {number}",
            repository=self.repository,
            event_type=self.event_type or event_type,
            kinds=frozenset(kinds) or DEFAULT_KINDS,
            model=self.model,
            alias=self.alias,
            tag=self.tag,
            inputs=self.inputs.model_dump(by_alias=True, exclude_none=True),
            dispatch=self.dispatch,
            workflow=self.workflow,
            ref=self.ref,
        )


class _File(_Table):
    route: list[_Route] = Field(min_length=1, description="start each route with [[route]]")


def read(text: str, *, name: str, event_type: str) -> tuple[Route, ...]:
    """Return the routes in `text`; raises only `RoutesInvalid`, whatever the text.

    `name` is the file's name in messages, `event_type` the default for routes without one.
    """
    if len(text) > MAX_ROUTES_FILE:
        problem = Problem(f"{name} is longer than {MAX_ROUTES_FILE} characters", "check that this is the routes file")
        raise RoutesInvalid((problem,))
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RoutesInvalid(
            (Problem(f"{name} is not TOML ({error})", "fix the syntax at or just before that position"),)
        ) from error
    except (RecursionError, ValueError) as error:  # a number may have too many digits for Python
        problem = Problem(f"{name} can't be read ({type(error).__name__})", "check that this is the routes file")
        raise RoutesInvalid((problem,)) from error
    faults = sorted({*_invalid_fields(content), *_contradictions(content)})
    if faults:
        raise RoutesInvalid(
            tuple(
                Problem(f"{name}{f', route {number}' if number else ''}: {key} {fault}", hint)
                for number, key, fault, hint in faults
            )
        )
    routes = _File.model_validate(content).route
    return tuple(route.route(number, event_type) for number, route in enumerate(routes, 1))


_Fault = tuple[int, str, str, str]
"""Number of the route (0 for the file), key, problem, and hint."""


def _invalid_fields(content: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield fields that are missing, unknown, or invalid on their own."""
    try:
        _File.model_validate(content)
    except ValidationError as invalid:
        for error in invalid.errors(include_input=False, include_url=False, include_context=False):
            path, kind = error["loc"], error["type"]
            number = int(path[1]) + 1 if len(path) > 1 else 0
            keys = [key for key in path if isinstance(key, str)]
            table: type[_Table] = (_File, _Route, _Inputs)[len(keys) - 1]
            fields = {field.alias or key: field for key, field in table.model_fields.items()}
            key = clean(".".join(keys[1:] or keys))
            if kind == "extra_forbidden":
                yield number, key, "is unknown", f"remove it, or use one of {', '.join(fields)}"
            else:
                fault = "is missing" if kind == "missing" else f"is invalid ({_PLAIN.get(kind, error['msg'])})"
                yield number, key, fault, str(fields[keys[-1]].description)


def _contradictions(content: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield fields that contradict others; works on raw tables, whose other fields may be invalid."""
    tables = content.get("route")
    names: set[str] = set()
    for number, table in enumerate(tables if isinstance(tables, list) else (), 1):
        if not isinstance(table, dict):
            continue
        if "name" in table and str(table["name"]) in names:
            yield number, "name", "is already used by an earlier route", "use a unique name"
        names.add(str(table.get("name")))

        method = table.get("dispatch", DispatchMethod.REPOSITORY)
        for key in ("workflow", "ref"):
            if method == DispatchMethod.WORKFLOW and key not in table:
                yield number, key, "is missing", str(_Route.model_fields[key].description)
            if method == DispatchMethod.REPOSITORY and key in table:
                hint = f'remove it, or add dispatch = "{DispatchMethod.WORKFLOW}"'
                yield number, key, f"has no effect with {method}", hint
        if method == DispatchMethod.WORKFLOW and "event_type" in table:
            hint = f'remove it, or remove dispatch = "{DispatchMethod.WORKFLOW}"'
            yield number, "event_type", f"has no effect with {method}", hint

        events = table.get("events")
        for key, kind in _KIND_OF_KEY.items():
            if key in table and isinstance(events, list) and any(event != kind for event in events):
                yield number, key, f"only applies to {kind} events", "move the other events to another route"
        if all(key in table for key in _KIND_OF_KEY):
            yield number, "tag", "can't be combined with alias, because no event has both", "split the route into two"
        if str(table.get("tag")).startswith(OUR_TAGS):
            yield number, "tag", f"only matches tags that the workflow sets ({OUR_TAGS}*)", "use another tag"
