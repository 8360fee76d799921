"""What goes into the ledger and what it gives: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.events import Event
from bridge.routing import Way
from bridge.runs import State

LANE: Final = "github"
"""The lane of the one credential that there is."""

FOLLOWER: Final = "follower"
"""The lease of whoever follows the runs."""

RECONCILER: Final = "reconciler"
"""The lease of whoever asks MLflow for what no delivery told of."""


@dataclass(frozen=True)
class Delivery:
    """One signed POST from MLflow, and what it says."""

    id: str
    event: Event
    received_at: float


@dataclass(frozen=True)
class Dispatch:
    """One request to GitHub, not yet made; `payload` is client_payload as JSON.

    By the way `workflow_dispatch` it goes to the file `workflow` on the branch or tag `ref`.
    """

    id: str
    route: str
    repository: str
    event_type: str
    payload: str
    lane: str = LANE
    way: Way = Way.REPOSITORY
    workflow: str | None = None
    ref: str | None = None


@dataclass(frozen=True)
class Pending:
    """A dispatch that waits on its lane.

    `sending_since` is set from before a request leaves until its end is written down: where it is set, GitHub may have
    been asked already, so look for the run before asking again.
    """

    id: str
    delivery_id: str
    lane: str
    repository: str
    event_type: str
    payload: str
    way: Way
    workflow: str | None
    ref: str | None
    attempts: int
    next_at: float
    sending_since: float | None
    created_at: float


@dataclass(frozen=True)
class Lane:
    """The way to GitHub of one credential: nothing leaves before `next_at`."""

    name: str
    next_at: float
    paused_because: str | None
    pauses: int


@dataclass(frozen=True)
class Accepted:
    """The delivery and its dispatches are on the disk."""


@dataclass(frozen=True)
class Duplicate:
    """The delivery was known already; nothing has changed."""


@dataclass(frozen=True)
class Told:
    """A delivery that told of a version, or of what an alias points to."""

    id: str
    version: str
    received_at: float


@dataclass(frozen=True)
class Figures:
    """What metrics tell of the ledger: every state with its number, seconds, and why which lane is paused."""

    dispatches: Mapping[State, int]
    oldest_pending: float | None
    paused: Mapping[str, str]
