"""The runs of sent dispatches: which ones are followed, and what GitHub reported about them."""

from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from bridge.core.dispatches import AWAITING_RUN, DispatchState, OpenDispatch, RunObservation
from bridge.ledger import versions
from bridge.ledger.schema import deliveries, dispatches

_REVIVAL: Final = 7 * 86_400.0
"""Seconds after its end in which a run may be re-run, and is noticed."""

_MAY_REVIVE: Final = (DispatchState.FAILED, DispatchState.CANCELLED, DispatchState.UNSEEN)
_IS_FOLLOWED: Final = sa.text("state IN ('sent', 'running', 'failed', 'cancelled', 'unseen')")
"""Spelled as in the index; otherwise SQLite would not use it."""

_SUPERSEDED: Final = "a newer dispatch for the same model replaced the run"


def open_dispatches(connection: sa.Connection, *, now: float) -> list[OpenDispatch]:
    """Return dispatches that are sent or running, or failed, cancelled or unseen for at most 7 days; oldest first."""
    event_columns = ("model", "version", "alias")
    columns = [dispatches.c[name] for name in OpenDispatch.__dataclass_fields__ if name not in event_columns]
    columns += [deliveries.c[name] for name in event_columns]
    query = sa.select(*columns).join(deliveries, deliveries.c.id == dispatches.c.delivery_id)
    under_way, ended = dispatches.c.ended_at.is_(None), dispatches.c.ended_at > now - _REVIVAL
    rows = connection.execute(sa.union_all(*(query.where(_IS_FOLLOWED, condition) for condition in (under_way, ended))))
    followed = [OpenDispatch(**row | {"state": DispatchState(row["state"])}) for row in map(dict, rows.mappings())]
    return sorted(followed, key=lambda dispatch: (dispatch.sent_at, dispatch.id))


def settle_run(connection: sa.Connection, dispatch_id: str, seen: RunObservation) -> RunObservation | None:
    """Write an observation of a run, and return it as written; None if it changes nothing.

    An older observation undoes no newer one; nothing becomes `unseen` whose run was seen; what succeeded stays so. A
    run that was cancelled is `superseded` if a newer dispatch for its model was sent to the same repository.
    """
    sources = (DispatchState.SENT,) if seen.state == DispatchState.UNSEEN else (*AWAITING_RUN, *_MAY_REVIVE)
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
    values: dict[str, Any] = {
        "state": seen.state,
        "run_id": row.run_id if seen.run_id is None else seen.run_id,
        "run_url": seen.run_url or row.run_url,
        "reason": seen.reason,
        "started_at": row.started_at if seen.started_at is None else seen.started_at,
    }
    if all(getattr(row, name) == value for name, value in values.items()):
        return None
    values |= {"seen_at": seen.at, "ended_at": None if seen.state in AWAITING_RUN else seen.at}
    connection.execute(dispatches.update().where(dispatches.c.id == dispatch_id).values(values))
    versions.refresh(connection, row.delivery_id)
    return seen


def _has_newer(connection: sa.Connection, row: sa.Row[Any]) -> bool:
    """Whether a dispatch for the same model went to the same repository after this one."""
    model = sa.select(deliveries.c.model).where(deliveries.c.id == row.delivery_id).scalar_subquery()
    newer = (
        sa.select(dispatches.c.id)
        .join(deliveries, deliveries.c.id == dispatches.c.delivery_id)
        .where(dispatches.c.sent_at > row.sent_at, dispatches.c.repository == row.repository)
        .where(deliveries.c.model == model)
        .limit(1)
    )
    return connection.scalar(newer) is not None
