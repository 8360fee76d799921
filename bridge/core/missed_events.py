"""Versions and aliases in MLflow that no delivery has reported.

The delivery id of a missed event is derived from its content and from the delivery before it: however often it is
found, and by whom, it is one delivery. Times are Unix seconds.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self
from uuid import UUID, uuid5

from bridge.core.errors import BridgeError
from bridge.core.events import Event, EventKind, parse
from bridge.core.text import read_json

GRACE: Final = 120.0
"""Seconds that MLflow's delivery gets, including retries, before an event counts as missed."""

OVERLAP: Final = 3600.0
"""Seconds by which each search overlaps the last one: a version may be committed later than its timestamp."""

CLOCKS: Final = 3600.0
"""Seconds by which MLflow's clock and ours may differ: a delivery may be this much older than its version."""

_NAMESPACE: Final = UUID("50df6760-49a4-42ee-91cc-aad2e75c993b")

Aliases = Mapping[str, Mapping[str, str]]
"""The version by alias, by model."""


class BookmarkUnreadable(BridgeError):
    """A bookmark of the reconciler can't be read."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the reconciler's bookmark {name!r} can't be read",
            "delete this row from the table bookmarks to reset it",
        )


@dataclass(frozen=True)
class Watermark:
    """How far the versions have been searched. All times are creation times of versions, so only MLflow's clock counts.

    `floor`: older versions are ignored. `seen`: the newest version of the last search. `reached`: that of the search
    before it, because a page of MLflow's list may omit a version while another is deleted; a second search finds it.
    """

    floor: float
    reached: float
    seen: float

    @classmethod
    def baseline(cls, at: float) -> Self:
        """Start with the versions that are created at `at` or later."""
        return cls(at, at, at)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `write` wrote; raises `BookmarkUnreadable`."""
        try:
            read = cls(**{name: float(read_json(text)[name]) for name in ("floor", "reached", "seen")})
        except (ValueError, TypeError, KeyError) as error:
            raise BookmarkUnreadable("versions") from error
        if not all(map(math.isfinite, (read.floor, read.reached, read.seen))):
            raise BookmarkUnreadable("versions")
        return read

    def write(self) -> str:
        """Return the watermark as text."""
        return json.dumps({"floor": self.floor, "reached": self.reached, "seen": self.seen})

    @property
    def begin(self) -> float:
        """The creation time at which the next search may stop."""
        return max(self.floor, self.reached - OVERLAP)

    def after(self, newest: float) -> Self:
        """Return the watermark after a search; `newest` is its newest version that is older than `GRACE`."""
        return replace(self, reached=self.seen, seen=max(self.seen, newest))


@dataclass(frozen=True, order=True)
class AliasChange:
    """An alias that points to another version than at the last search."""

    model: str
    alias: str
    version: str


def read_aliases(text: str) -> dict[str, dict[str, str]]:
    """Read what `write_aliases` wrote; raises `BookmarkUnreadable`."""
    try:
        read = {model: dict(aliases) for model, aliases in read_json(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BookmarkUnreadable("aliases") from error
    if not all(isinstance(version, str) for aliases in read.values() for version in aliases.values()):
        raise BookmarkUnreadable("aliases")
    return read


def write_aliases(aliases: Aliases) -> str:
    """Return the mapping as text."""
    return json.dumps(aliases, separators=(",", ":"), sort_keys=True)


def changed_aliases(last: Aliases, now: Aliases) -> list[AliasChange]:
    """Return the aliases that were moved or added. Deleted ones don't count: their image tags stay in the registry."""
    return sorted(
        AliasChange(model, alias, version)
        for model, aliases in now.items()
        for alias, version in aliases.items()
        if last.get(model, {}).get(alias) != version
    )


def apply_changes(last: Aliases, changes: Iterable[AliasChange]) -> dict[str, dict[str, str]]:
    """Return `last` with these changes; aliases that were deleted in MLflow stay in it."""
    aliases = {model: dict(versions) for model, versions in last.items()}
    for change in changes:
        aliases.setdefault(change.model, {})[change.alias] = change.version
    return aliases


def version_event(model: str, version: str, source: str | None, run_id: str | None) -> Event:
    """Return the event that MLflow would have sent; raises `UnsupportedEvent` if its delivery would be refused."""
    return _event(EventKind.VERSION_CREATED, {"name": model, "version": version, "source": source, "run_id": run_id})


def alias_event(change: AliasChange) -> Event:
    """Return the event that MLflow would have sent; raises `UnsupportedEvent` if its delivery would be refused."""
    return _event(EventKind.ALIAS_CREATED, {"name": change.model, "version": change.version, "alias": change.alias})


def version_delivery_id(model: str, version: str, created: int) -> str:
    """Return the id of the version's delivery; `created` (ms) tells a version from a deleted one of the same number."""
    return _id(EventKind.VERSION_CREATED, model, version, str(created))


def alias_delivery_id(change: AliasChange, previous: str | None) -> str:
    """Return the id of the change's delivery; `previous`, the alias's last delivery, tells two equal changes apart."""
    return _id(EventKind.ALIAS_CREATED, change.model, change.alias, change.version, previous or "")


def _event(kind: EventKind, data: Mapping[str, str | None]) -> Event:
    """Parse it like a delivery, so that the same checks apply."""
    entity, _, action = kind.partition(".")
    return parse(json.dumps({"entity": entity, "action": action, "data": data}).encode())


def _id(*names: str) -> str:
    return str(uuid5(_NAMESPACE, json.dumps(names)))
