"""Which events go to which GitHub repository, and with what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from bridge.core.events import DEFAULT_WORKSPACE, Event, EventKind

OUR_TAGS: Final = "image."
"""What the tags begin with that our own runs write into MLflow: an event of theirs must cause no run."""

DEFAULT_KINDS: Final = frozenset({EventKind.VERSION_CREATED, EventKind.ALIAS_CREATED})
"""What a route takes that names no kinds: tags have a route only where one says so."""


class DispatchMethod(StrEnum):
    """How GitHub is asked to start a run."""

    REPOSITORY = "repository_dispatch"
    WORKFLOW = "workflow_dispatch"


@dataclass(frozen=True)
class Route:
    """A rule of the operator's: which events go to `repository` (owner/name), how, and with which `inputs`.

    An event must be of one of `kinds` and fit each of the globs `model`, `alias` and `tag` (the tag's key) that is
    there: one for an alias fits no version's event. By `repository_dispatch` it goes as `event_type`, by
    `workflow_dispatch` to the file `workflow` on the branch or tag `ref`.
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

    def wants(self, event: Event) -> bool:
        """Tell whether the event fits this route; `match` tells whether it may be dispatched at all."""
        globs = ((self.model, event.model), (self.alias, event.alias), (self.tag, event.tag))
        return event.kind in self.kinds and all(_fits(glob, text) for glob, text in globs)


def match(event: Event, routes: Iterable[Route]) -> tuple[Route, ...]:
    """Give the routes that want the event, in their order; none for what must never be dispatched."""
    return () if unroutable_reason(event) else tuple(route for route in routes if route.wants(event))


def unroutable_reason(event: Event) -> str | None:
    """Say why the event goes out by no route whatever it says; None where a route may have it.

    That is: MLflow's test events, workspaces other than the default, and the tags that our own runs write.
    """
    if event.is_test:
        return "it is MLflow's own test event"
    if event.workspace != DEFAULT_WORKSPACE:
        return "it is of a workspace other than the default"
    if (event.tag or "").startswith(OUR_TAGS):
        return f"tags that begin with {OUR_TAGS} are written by the runs themselves"
    return None


def _fits(glob: str | None, text: str | None) -> bool:
    """Case counts, as in MLflow's names; `*` takes anything, line feeds and slashes too."""
    return glob is None or (text is not None and fnmatchcase(text, glob))
