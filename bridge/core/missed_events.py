"""What MLflow holds that no delivery told of: no input or output, and the time is an argument.

An event that is found here gets its delivery id from what it says and from what it follows, so that whoever finds it,
and however often, it is one delivery. Times are Unix seconds.
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
"""Seconds that MLflow's own delivery has, with all of its retries, before anybody looks for it."""

OVERLAP: Final = 3600.0
"""Seconds that each look goes back behind the last one: a version may be committed later than its time says."""

CLOCKS: Final = 3600.0
"""Seconds by which MLflow's clock and ours may differ: a delivery this much older than its version is still its own."""

_NAMESPACE: Final = UUID("50df6760-49a4-42ee-91cc-aad2e75c993b")

Aliases = Mapping[str, Mapping[str, str]]
"""By model, by alias: the version."""


class BookmarkUnreadable(BridgeError):
    """What the reconciler wrote down for itself can't be read any more."""


@dataclass(frozen=True)
class Watermark:
    """How far the versions have been looked through: times of versions, so that no clock but MLflow's own counts.

    `floor`: older ones are none of ours. `seen`: the newest that was looked at; `reached`: that of the look before, for
    a page of MLflow's list may leave a version out where another is deleted meanwhile, and a second look finds it.
    """

    floor: float
    reached: float
    seen: float

    @classmethod
    def baseline(cls, at: float) -> Self:
        """Begin with what is made at that moment or later."""
        return cls(at, at, at)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `write` wrote; raises `BookmarkUnreadable`."""
        try:
            read = cls(**{name: float(read_json(text)[name]) for name in ("floor", "reached", "seen")})
        except (ValueError, TypeError, KeyError) as error:
            raise BookmarkUnreadable(_unreadable("versions")) from error
        if not all(map(math.isfinite, (read.floor, read.reached, read.seen))):
            raise BookmarkUnreadable(_unreadable("versions"))
        return read

    def write(self) -> str:
        """Give it as text."""
        return json.dumps({"floor": self.floor, "reached": self.reached, "seen": self.seen})

    @property
    def begin(self) -> float:
        """Give the time of the oldest version that the next look has to reach."""
        return max(self.floor, self.reached - OVERLAP)

    def after(self, newest: float) -> Self:
        """Give what holds after a look whose newest version, past its grace, is of that time."""
        return replace(self, reached=self.seen, seen=max(self.seen, newest))


@dataclass(frozen=True, order=True)
class AliasChange:
    """An alias that points elsewhere than when it was last looked at."""

    model: str
    alias: str
    version: str


def read_aliases(text: str) -> dict[str, dict[str, str]]:
    """Read what `write_aliases` wrote; raises `BookmarkUnreadable`."""
    try:
        read = {model: dict(aliases) for model, aliases in read_json(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BookmarkUnreadable(_unreadable("aliases")) from error
    if not all(isinstance(version, str) for aliases in read.values() for version in aliases.values()):
        raise BookmarkUnreadable(_unreadable("aliases"))
    return read


def write_aliases(aliases: Aliases) -> str:
    """Give the map as text."""
    return json.dumps(aliases, separators=(",", ":"), sort_keys=True)


def changed_aliases(last: Aliases, now: Aliases) -> list[AliasChange]:
    """Give what points elsewhere now. An alias that is gone is none: its tag in the registry stays too."""
    return sorted(
        AliasChange(model, alias, version)
        for model, aliases in now.items()
        for alias, version in aliases.items()
        if last.get(model, {}).get(alias) != version
    )


def with_moves(last: Aliases, done: Iterable[AliasChange]) -> dict[str, dict[str, str]]:
    """Give the map in which these moves have been seen to; what is gone from MLflow stays in it."""
    aliases = {model: dict(each) for model, each in last.items()}
    for move in done:
        aliases.setdefault(move.model, {})[move.alias] = move.version
    return aliases


def version_event(model: str, version: str, source: str | None, run_id: str | None) -> Event:
    """Give the event that MLflow would have sent; raises `UnsupportedEvent` where its delivery would be refused."""
    return _event(EventKind.VERSION_CREATED, {"name": model, "version": version, "source": source, "run_id": run_id})


def alias_event(move: AliasChange) -> Event:
    """Give the event that MLflow would have sent; raises `UnsupportedEvent` where its delivery would be refused."""
    return _event(EventKind.ALIAS_CREATED, {"name": move.model, "version": move.version, "alias": move.alias})


def version_delivery_id(model: str, version: str, created: int) -> str:
    """Give the id of the version's one delivery; one that was deleted and made again is another (`created`, in ms)."""
    return _id(EventKind.VERSION_CREATED, model, version, str(created))


def alias_delivery_id(move: AliasChange, follows: str | None) -> str:
    """Give the id of the move's delivery; `follows` is the alias's last delivery, for it may point here once more."""
    return _id(EventKind.ALIAS_CREATED, move.model, move.alias, move.version, follows or "")


def _event(kind: EventKind, data: Mapping[str, str | None]) -> Event:
    """Let it in by the door that deliveries come through, with its checks."""
    entity, _, action = kind.partition(".")
    return parse(json.dumps({"entity": entity, "action": action, "data": data}).encode())


def _id(*said: str) -> str:
    return str(uuid5(_NAMESPACE, json.dumps(said)))


def _unreadable(name: str) -> str:
    return f"the reconciler's bookmark {name!r} can't be read: delete that row of the table bookmarks to begin anew"
