"""What became of dispatches that went out: their runs, their images; and what the loops keep between two looks."""

from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from bridge.core.dispatches import DispatchState, OpenDispatch, RunObservation
from bridge.core.events import EventKind
from bridge.ledger import lanes as sending
from bridge.ledger import versions as listing
from bridge.ledger.database import insert
from bridge.ledger.records import Figures, LastDelivery
from bridge.ledger.schema import bookmarks, deliveries, dispatches, lanes, tells_of, versions

_REVIVAL: Final = 7 * 86_400.0
"""Seconds after its end in which a run may be run again, and shows."""

_UNDER_WAY: Final = (DispatchState.SENT, DispatchState.RUNNING)
_MAY_REVIVE: Final = (DispatchState.FAILED, DispatchState.CANCELLED, DispatchState.UNSEEN)
_IS_FOLLOWED: Final = sa.text("state IN ('sent', 'running', 'failed', 'cancelled', 'unseen')")
_IS_PENDING: Final = sa.text("state = 'pending'")
"""Spelled as in the indexes, for else SQLite would not use them."""

_SUPERSEDED: Final = "the run made way for that of a newer dispatch for the same model"


def open_dispatches(connection: sa.Connection, now: float) -> list[OpenDispatch]:
    """Give what is sent or running, and what failed, was cancelled or unseen at most 7 days ago; oldest first."""
    own = [name for name in OpenDispatch.__dataclass_fields__ if name not in ("model", "version", "alias")]
    columns = [*(dispatches.c[name] for name in own), *(deliveries.c[name] for name in ("model", "version", "alias"))]
    query = sa.select(*columns).join(deliveries, deliveries.c.id == dispatches.c.delivery_id)
    under_way, ended = dispatches.c.ended_at.is_(None), dispatches.c.ended_at > now - _REVIVAL
    rows = connection.execute(sa.union_all(*(query.where(_IS_FOLLOWED, which) for which in (under_way, ended))))
    found = [OpenDispatch(**row | {"state": DispatchState(row["state"])}) for row in map(dict, rows.mappings())]
    return sorted(found, key=lambda each: (each.sent_at, each.id))


def settle_run(connection: sa.Connection, dispatch_id: str, seen: RunObservation) -> RunObservation | None:
    """Write down what a run was seen to be, and give what was written, or None where that changed nothing.

    An older look undoes no newer one; nothing becomes `unseen` whose run was seen; what succeeded stays so.
    """
    sources = (DispatchState.SENT,) if seen.state == DispatchState.UNSEEN else (*_UNDER_WAY, *_MAY_REVIVE)
    row = connection.execute(
        sa.select(dispatches)
        .where(dispatches.c.id == dispatch_id, dispatches.c.state.in_(sources))
        .where(sa.func.coalesce(dispatches.c.seen_at, 0.0) <= seen.at)
        .with_for_update()
    ).first()
    if row is None:
        return None
    if seen.state == DispatchState.CANCELLED and _has_newer(connection, row):
        seen = replace(seen, state=DispatchState.SUPERSEDED, reason=_SUPERSEDED)
    told: dict[str, Any] = {
        "state": seen.state,
        "run_id": row.run_id if seen.run_id is None else seen.run_id,
        "run_url": seen.run_url or row.run_url,
        "reason": seen.reason,
        "started_at": row.started_at if seen.started_at is None else seen.started_at,
    }
    if all(getattr(row, name) == value for name, value in told.items()):
        return None
    told |= {"seen_at": seen.at, "ended_at": None if seen.state in _UNDER_WAY else seen.at}
    connection.execute(dispatches.update().where(dispatches.c.id == dispatch_id).values(told))
    listing.refresh(connection, row.delivery_id)
    return seen


def write_image(
    connection: sa.Connection, model: str, version: str, uri: str | None, status: str | None, now: float
) -> None:
    """Keep what MLflow's tags said of the version's image; an older reading undoes no newer one."""
    row = {"model": model, "version": version, "image_uri": uri, "image_status": status, "read_at": now}
    new = insert(connection, versions).values(row)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["model", "version"],
            set_={name: new.excluded[name] for name in ("image_uri", "image_status", "read_at")},
            where=versions.c.read_at <= now,
        )
    )


def last_told(
    connection: sa.Connection, kind: EventKind, model: str, version: str | None, alias: str | None
) -> LastDelivery | None:
    """Give the newest delivery of that kind for the model, and for the version or alias where one is given."""
    query = (
        sa.select(deliveries.c.id, deliveries.c.version, deliveries.c.received_at)
        .where(deliveries.c.model == model, deliveries.c.kind == kind)
        .order_by(deliveries.c.received_at.desc(), deliveries.c.id.desc())
        .limit(1)
    )
    if version is not None:
        query = query.where(tells_of(version))
    if alias is not None:
        query = query.where(deliveries.c.alias == alias)
    row = connection.execute(query).mappings().first()
    return LastDelivery(**row) if row else None


def bookmark(connection: sa.Connection, name: str) -> str | None:
    """Give what was written under that name."""
    return connection.scalar(sa.select(bookmarks.c.text).where(bookmarks.c.name == name))


def write_bookmark(connection: sa.Connection, name: str, text: str) -> None:
    """Keep a text under a name, instead of the last one."""
    new = insert(connection, bookmarks).values(name=name, text=text)
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"text": text}))


def figures(connection: sa.Connection, now: float) -> Figures:
    """Count the dispatches; a state that none is in has 0."""
    counted = connection.execute(sa.select(dispatches.c.state, sa.func.count()).group_by(dispatches.c.state))
    counts: dict[str, int] = {state: int(number) for state, number in counted}
    # Count and lanes are there for SQLite's sake: for min() alone it would read the whole table.
    waiting = sa.select(sa.func.min(dispatches.c.created_at), sa.func.count())
    on_lanes = dispatches.c.lane.in_(sa.select(lanes.c.name))
    oldest = connection.execute(waiting.where(_IS_PENDING, on_lanes)).one()[0]
    return Figures(
        dispatches={state: counts.get(state, 0) for state in DispatchState},
        oldest_pending=None if oldest is None else max(0.0, now - oldest),
        paused=sending.paused(connection),
    )


def _has_newer(connection: sa.Connection, row: sa.Row[Any]) -> bool:
    """Tell whether a dispatch for the same model went to the same repository after this one."""
    model = sa.select(deliveries.c.model).where(deliveries.c.id == row.delivery_id).scalar_subquery()
    newer = (
        sa.select(dispatches.c.id)
        .join(deliveries, deliveries.c.id == dispatches.c.delivery_id)
        .where(dispatches.c.sent_at > row.sent_at, dispatches.c.repository == row.repository)
        .where(deliveries.c.model == model)
        .limit(1)
    )
    return connection.scalar(newer) is not None
