"""The values that the ledger stores and returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from bridge.core.dispatches import DispatchState
from bridge.core.events import Event
from bridge.core.routing import DispatchMethod

_T = TypeVar("_T")

LANE: Final = "github"
"""The lane of the only credential."""

FOLLOWER: Final = "follower"
"""The lease of the process that follows the runs."""

RECONCILER: Final = "reconciler"
"""The lease of the process that asks MLflow for events that no delivery reported."""


@dataclass(frozen=True)
class Delivery:
    """One signed POST from MLflow, and the event in it."""

    id: str
    event: Event
    received_at: float


@dataclass(frozen=True)
class Dispatch:
    """One request to GitHub, not yet made; `payload` is client_payload as JSON.

    With `way` workflow_dispatch it goes to the file `workflow` on the branch or tag `ref`.
    """

    id: str
    route: str
    repository: str
    event_type: str
    payload: str
    lane: str = LANE
    way: DispatchMethod = DispatchMethod.REPOSITORY
    workflow: str | None = None
    ref: str | None = None


@dataclass(frozen=True)
class Pending:
    """A dispatch that waits on its lane.

    `sending_since` is set from before a request leaves until its outcome is recorded. If it is set, GitHub may have
    received the request: search for the run before sending again.
    """

    id: str
    delivery_id: str
    lane: str
    repository: str
    event_type: str
    payload: str
    way: DispatchMethod
    workflow: str | None
    ref: str | None
    attempts: int
    next_at: float
    sending_since: float | None
    created_at: float


@dataclass(frozen=True)
class Lane:
    """The queue of one credential: nothing goes to GitHub before `next_at`."""

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
class LastDelivery:
    """The newest delivery about a version or an alias."""

    id: str
    version: str
    received_at: float


@dataclass(frozen=True)
class Figures:
    """The ledger in figures: dispatches by state, seconds, and the reason for each paused lane by its name."""

    dispatches: Mapping[DispatchState, int]
    oldest_pending: float | None
    paused: Mapping[str, str]


@dataclass(frozen=True)
class Filter:
    """Which rows of a list are asked for: `search` is part of a model's name in any case, `model` the whole of it.

    `before` is `next` of the previous page; None for the newest rows.
    """

    state: DispatchState | None = None
    search: str = ""
    model: str | None = None
    version: str | None = None
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True)
class VersionSummary:
    """A model version as lists have it; state, reason and run are those of the dispatch `dispatch_id`.

    `latest_id` is its place in the list, `told_at` when it was last reported or replayed.
    """

    model: str
    version: str
    state: DispatchState
    latest_id: str
    told_at: float
    dispatch_id: str
    delivery_id: str
    repository: str
    reason: str | None
    run_url: str | None
    image_uri: str | None
    image_status: str | None


@dataclass(frozen=True)
class Attempt:
    """An attempt at a dispatch, or several in a row with the same answer; `outcome` is one word."""

    first_at: float
    last_at: float
    times: int
    outcome: str
    answer: str


@dataclass(frozen=True)
class DispatchDetails:
    """A dispatch as people see it, with its history so far."""

    id: str
    delivery_id: str
    route: str
    repository: str
    event_type: str
    way: DispatchMethod
    workflow: str | None
    ref: str | None
    state: DispatchState
    reason: str | None
    run_id: int | None
    run_url: str | None
    created_at: float
    next_at: float
    sent_at: float | None
    started_at: float | None
    ended_at: float | None
    answers: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class DeliveryDetails:
    """A delivery and its dispatches, newest first."""

    delivery: Delivery
    dispatches: tuple[DispatchDetails, ...]


@dataclass(frozen=True)
class ResultPage(Generic[_T]):
    """A page of a list; `next` is `before` for the following page, None at the end."""

    rows: tuple[_T, ...]
    next: str | None
