"""The table `versions`, which people browse; each change of a dispatch updates it in the same transaction.

A version's state is that of its newest delivery or replay; where that went to several routes, it is the state that most
needs attention. Rows of `versions` are locked last of all, and in order, so that no two writers wait for each other.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from bridge.core.dispatches import Decision, DispatchState, Pause, Reject, Retry, Sent, VerifyThenRetry
from bridge.ledger.database import insert
from bridge.ledger.records import Delivery, Dispatch, Pending
from bridge.ledger.schema import OF_DELIVERY, attempts, deliveries, dispatches, models, versions

_STATE_PRIORITY: Final = (
    DispatchState.PENDING,
    DispatchState.SENT,
    DispatchState.RUNNING,
    DispatchState.FAILED,
    DispatchState.REJECTED,
    DispatchState.UNSEEN,
    DispatchState.CANCELLED,
    DispatchState.SUPERSEDED,
    DispatchState.WITHDRAWN,
    DispatchState.SUCCEEDED,
)


def record_accepted(connection: sa.Connection, entries: Iterable[tuple[Delivery, Sequence[Dispatch]]]) -> None:
    """List the versions of deliveries that were just written with their dispatches; they are pending.

    Two statements for a batch, because every delivery passes here.
    """
    newest: dict[tuple[str, str], tuple[str, float]] = {}
    for delivery, new in entries:
        if new:
            key = delivery.event.model, delivery.event.version
            latest = max(dispatch.id for dispatch in new), delivery.received_at
            newest[key] = max(newest.get(key, latest), latest)
    if not newest:
        return
    new_model, new_version = _inserts(connection.dialect)
    names = sorted({model for model, _ in newest})
    connection.execute(new_model, [{"name": name, "folded": name.casefold()} for name in names])
    rows = [
        {"model": model, "version": version, "dispatch_id": dispatch_id, "latest_id": dispatch_id, "told_at": at}
        | {"state": DispatchState.PENDING.value, "read_at": 0.0}
        for (model, version), (dispatch_id, at) in sorted(newest.items())
    ]
    connection.execute(new_version, rows)


@lru_cache(maxsize=2)  # to build them takes SQLAlchemy longer than the database to run them
def _inserts(dialect: sa.Dialect) -> tuple[sa.Insert, sa.Insert]:
    new = insert(dialect, versions)
    new_version = new.on_conflict_do_update(
        index_elements=["model", "version"],
        set_={name: new.excluded[name] for name in ("state", "dispatch_id", "latest_id", "told_at")},
        where=versions.c.latest_id.is_(None) | (versions.c.latest_id < new.excluded.latest_id),
    )
    return insert(dialect, models).on_conflict_do_nothing(), new_version


def record_attempt(connection: sa.Connection, dispatch: Pending, decision: Decision, now: float) -> None:
    """Record GitHub's answer to an attempt, and bring the version's row up to date.

    A repeated answer is only counted: a token that is wrong for a week leaves one row.
    """
    outcome, answer = _outcome_and_answer(decision)
    of_dispatch = attempts.c.dispatch_id == dispatch.id
    query = sa.select(attempts).where(of_dispatch).order_by(attempts.c.first_at.desc()).limit(1)
    last = connection.execute(query).first()
    if last and (last.outcome, last.answer) == (outcome, answer):
        repeated = attempts.update().where(of_dispatch, attempts.c.first_at == last.first_at)
        connection.execute(repeated.values(times=attempts.c.times + 1, last_at=now))
    else:
        at = max(now, math.nextafter(last.first_at, math.inf)) if last else now
        row = {"dispatch_id": dispatch.id, "first_at": at, "last_at": at, "outcome": outcome, "answer": answer}
        connection.execute(attempts.insert().values(**row, times=1))
    refresh(connection, dispatch.delivery_id)


def refresh(connection: sa.Connection, delivery_id: str) -> None:
    """Bring the row of the delivery's version up to date with its dispatches."""
    version = connection.execute(
        sa.select(deliveries.c.model, deliveries.c.version).where(deliveries.c.id == delivery_id)
    ).one()
    key = versions.c.model == version.model, versions.c.version == version.version
    # The row's lock makes writers of one version take turns: each sees what the one before it has written.
    latest_id = connection.scalar(sa.select(versions.c.latest_id).where(*key).with_for_update())
    rows = _dispatches_of(connection, delivery_id)
    if latest_id and latest_id > rows[0].id:
        # Another delivery of this version is newer: what changed in this one doesn't show, the newer one's state does.
        (newer,) = connection.execute(sa.select(dispatches.c.delivery_id).where(dispatches.c.id == latest_id)).one()
        rows = _dispatches_of(connection, newer)
    newest = rows[0]
    # Dispatches of one delivery or replay were made at one time; those before a replay no longer count.
    latest = [row for row in rows if row.created_at == newest.created_at]
    # Of several routes, the one that most needs attention shows; of equal ones, that of the newest dispatch.
    shown = min(latest, key=lambda row: (_STATE_PRIORITY.index(row.state), row.id != newest.id))
    state = {"state": shown.state, "dispatch_id": shown.id, "latest_id": newest.id, "told_at": newest.created_at}
    new = insert(connection.dialect, versions).values(
        model=version.model, version=version.version, read_at=0.0, **state
    )
    connection.execute(new.on_conflict_do_update(index_elements=["model", "version"], set_=state))


def write_image(
    connection: sa.Connection, model: str, version: str, uri: str | None, status: str | None, *, now: float
) -> None:
    """Store MLflow's `image.*` tags of a version as they were at `now`; an older reading overwrites no newer one."""
    row = {"model": model, "version": version, "image_uri": uri, "image_status": status, "read_at": now}
    new = insert(connection.dialect, versions).values(row)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["model", "version"],
            set_={name: new.excluded[name] for name in ("image_uri", "image_status", "read_at")},
            where=versions.c.read_at <= now,
        )
    )


def _dispatches_of(connection: sa.Connection, delivery_id: str) -> Sequence[sa.Row[Any, Any, Any]]:
    """Return the delivery's dispatches, newest first: by id (a ULID), not by a text order of the database's own."""
    columns = (dispatches.c.id, dispatches.c.created_at, dispatches.c.state)
    query = sa.select(*columns).join(deliveries, OF_DELIVERY).where(deliveries.c.id == delivery_id)
    return sorted(connection.execute(query).all(), key=lambda row: str(row.id), reverse=True)


def _outcome_and_answer(decision: Decision) -> tuple[str, str]:
    """Return the attempt's outcome in one word, and GitHub's answer."""
    match decision:
        case Sent(run_id):
            return "accepted", "GitHub accepted it" + ("" if run_id is None else f" and started run {run_id}")
        case Reject(reason):
            return "rejected", reason
        case Retry(_, reason):
            return "failed", reason
        case VerifyThenRetry(_, reason):
            return "uncertain", reason
        case Pause(_, reason):
            return "paused", reason
