"""The tables that people browse, kept up to date by whoever changes a dispatch, in the same transaction.

A version's state is that of its newest delivery or replay; where that went several ways, of the dispatch that is most
worth a look. Rows of `versions` are locked last of all, and in order, so that no two writers wait for each other.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from bridge.core.dispatches import Decision, DispatchState, Pause, Reject, Retry, Sent, VerifyThenRetry
from bridge.ledger.batch import Insert, write
from bridge.ledger.database import insert
from bridge.ledger.records import Delivery, Dispatch, Pending
from bridge.ledger.schema import OF_DELIVERY, attempts, deliveries, dispatches, versions

_MOST_WORTH_A_LOOK: Final = (
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

_MODELS: Final = Insert("INSERT INTO models (name, folded) VALUES", "({0}, {0})", "ON CONFLICT DO NOTHING")
_VERSIONS: Final = Insert(
    "INSERT INTO versions (model, version, state, dispatch_id, latest_id, told_at, read_at) VALUES",
    "({0}, {0}, 'pending', {0}, {0}, {0}, 0)",
    "ON CONFLICT (model, version) DO UPDATE SET state = excluded.state, dispatch_id = excluded.dispatch_id, "
    "latest_id = excluded.latest_id, told_at = excluded.told_at "
    "WHERE versions.latest_id IS NULL OR versions.latest_id < excluded.latest_id",
)


def accepted(connection: sa.Connection, entries: Iterable[tuple[Delivery, Sequence[Dispatch]]]) -> None:
    """List the versions of deliveries that were just written down with their dispatches; they are pending.

    Two statements for a batch: every delivery passes here.
    """
    newest: dict[tuple[str, str], tuple[str, float]] = {}
    for delivery, wanted in entries:
        if wanted:
            key = delivery.event.model, delivery.event.version
            mine = max(one.id for one in wanted), delivery.received_at
            newest[key] = max(newest.get(key, mine), mine)
    names = sorted({model for model, _ in newest})
    write(connection, _MODELS, [(name, name.casefold()) for name in names])
    rows = [(*key, dispatch_id, dispatch_id, at) for key, (dispatch_id, at) in sorted(newest.items())]
    write(connection, _VERSIONS, rows)


def settled(connection: sa.Connection, seen: Pending, decision: Decision, now: float) -> None:
    """Keep what GitHub answered to an attempt, and bring the version's row up to date.

    The same answer again only counts: a token that is wrong for a week leaves one row.
    """
    outcome, answer = _said(decision)
    mine = attempts.c.dispatch_id == seen.id
    last = connection.execute(sa.select(attempts).where(mine).order_by(attempts.c.first_at.desc()).limit(1)).first()
    if last and (last.outcome, last.answer) == (outcome, answer):
        again = attempts.update().where(mine, attempts.c.first_at == last.first_at)
        connection.execute(again.values(times=attempts.c.times + 1, last_at=now))
    else:
        at = max(now, math.nextafter(last.first_at, math.inf)) if last else now
        row = {"dispatch_id": seen.id, "first_at": at, "last_at": at, "times": 1, "outcome": outcome, "answer": answer}
        connection.execute(attempts.insert().values(row))
    refresh(connection, seen.delivery_id)


def refresh(connection: sa.Connection, delivery_id: str) -> None:
    """Bring the row of the delivery's version up to date with its dispatches."""
    told = connection.execute(
        sa.select(deliveries.c.model, deliveries.c.version).where(deliveries.c.id == delivery_id)
    ).one()
    own = versions.c.model == told.model, versions.c.version == told.version
    latest = connection.scalar(sa.select(versions.c.latest_id).where(*own).with_for_update())
    known = _of(connection, delivery_id)
    newest = max(known, key=lambda row: str(row.id))
    if latest and latest > newest.id:
        (other,) = connection.execute(sa.select(dispatches.c.delivery_id).where(dispatches.c.id == latest)).one()
        known = _of(connection, other)
        newest = max(known, key=lambda row: str(row.id))
    together = [row for row in known if row.created_at == newest.created_at]
    shown = min(together, key=lambda row: (_MOST_WORTH_A_LOOK.index(row.state), row.id != newest.id))
    state = {"state": shown.state, "dispatch_id": shown.id, "latest_id": newest.id, "told_at": newest.created_at}
    new = insert(connection, versions).values(model=told.model, version=told.version, read_at=0.0, **state)
    connection.execute(new.on_conflict_do_update(index_elements=["model", "version"], set_=state))


def _of(connection: sa.Connection, delivery_id: str) -> Sequence[sa.Row[Any, Any, Any]]:
    columns = (dispatches.c.id, dispatches.c.created_at, dispatches.c.state)
    query = sa.select(*columns).join(deliveries, OF_DELIVERY).where(deliveries.c.id == delivery_id)
    return connection.execute(query).all()


def _said(decision: Decision) -> tuple[str, str]:
    """Give what came of the attempt in a word, and in GitHub's words."""
    match decision:
        case Sent(run_id):
            return "taken", "GitHub took it" if run_id is None else f"GitHub took it, and it is run {run_id}"
        case Reject(reason):
            return "rejected", reason
        case Retry(_, reason):
            return "failed", reason
        case VerifyThenRetry(_, reason):
            return "uncertain", reason
        case Pause(_, reason):
            return "paused", reason
