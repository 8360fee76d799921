"""Which events are dispatched to which GitHub repository, and with which inputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from bridge.core.events import DEFAULT_WORKSPACE, Event, EventKind

OUR_TAGS: Final = "image."
"""Prefix of the tags that our own runs write into MLflow: their events must not start runs."""

DEFAULT_KINDS: Final = frozenset({EventKind.VERSION_CREATED, EventKind.ALIAS_CREATED})
"""Kinds of a route that names none: events of tags need a route that names them."""


class DispatchMethod(StrEnum):
    """The event by which a run is started at GitHub."""

    REPOSITORY = "repository_dispatch"
    WORKFLOW = "workflow_dispatch"


@dataclass(frozen=True)
class Route:
    """A rule that the operator sets: which events are dispatched to `repository` (owner/name), and with which `inputs`.

    An event must have one of `kinds` and match all globs that are set: `model`, `alias` and `tag` (the tag's key). A
    glob for aliases matches no event of a version. A `repository_dispatch` has the type `event_type`; a
    `workflow_dispatch` starts the file `workflow` on the branch or tag `ref`.
    """

    name: str
    repository: str
    event_type: str
    kinds: frozenset[EventKind] = DEFAULT_KINDS
    model: str | None = None
    alias: str | None = None
    tag: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    dispatch: DispatchMethod = DispatchMethod.REPOSITORY
    workflow: str | None = None
    ref: str | None = None

    def matches(self, event: Event) -> bool:
        """Whether the event matches this route; whether it may be dispatched at all is `unroutable_reason`'s answer.

        Matching is case-sensitive, as in MLflow's names; `*` matches any characters, also line feeds and slashes.
        """
        globs = ((self.model, event.model), (self.alias, event.alias), (self.tag, event.tag))
        return event.kind in self.kinds and all(
            glob is None or (text is not None and fnmatchcase(text, glob)) for glob, text in globs
        )


def match(event: Event, routes: Iterable[Route]) -> tuple[Route, ...]:
    """Return the routes that match the event, in their order; none for an event that must not be dispatched."""
    return () if unroutable_reason(event) else tuple(route for route in routes if route.matches(event))


def unroutable_reason(event: Event) -> str | None:
    """Return why no route may dispatch the event; None if a route may.

    Test events of MLflow, other workspaces than the default, and tags that our own runs write are never dispatched.
    """
    if event.is_test:
        return "it is a test event from MLflow"
    if event.workspace != DEFAULT_WORKSPACE:
        return "it is not from MLflow's default workspace"
    if (event.tag or "").startswith(OUR_TAGS):
        return f"the workflow itself sets the tags {OUR_TAGS}*"
    return None
