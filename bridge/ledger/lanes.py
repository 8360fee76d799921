"""Lanes: who may send, which dispatch is due, and the outcome of its requests.

A repository that refuses our credential gets a lane with its own name, so that only this one is paused.

The sender holds the lane's lease, and every write names the dispatch as its writer has read it. If another process has
changed it since then, the write changes nothing, however late a frozen holder wakes up.
"""

from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from bridge.core.dispatches import ACCESS_DELAY, Decision, DispatchState, Pause, Reject, Retry, Sent, VerifyThenRetry
from bridge.core.routing import DispatchMethod
from bridge.ledger import versions
from bridge.ledger.database import insert
from bridge.ledger.records import LANE, Lane, Pending
from bridge.ledger.schema import IS_PENDING, dispatches, lanes

LEASE: Final = 5.0
"""Seconds for which a lane is held unless the lease is renewed; so long nothing is sent after its holder died."""


def acquire(connection: sa.Connection, lease: str, holder: str, *, now: float, seconds: float) -> Lane | None:
    """Assign the lease to `holder`, or renew it, until `now + seconds`; None if another process holds it."""
    row = _locked(connection, lease)
    if row is None:
        _create(connection, lease)
        row = _locked(connection, lease)
    if row is None:
        return None
    remaining = (row.leased_until or now) - now
    # A lease that ends later than any can was acquired before the clock was set back: it doesn't hold others up.
    if row.leased_by != holder and 0 < remaining <= seconds:
        return None
    if row.leased_by != holder or not seconds / 2 <= remaining <= seconds:  # otherwise the write would change nothing
        _change(connection, lease, leased_by=holder, leased_until=now + seconds)
    return Lane(row.name, row.next_at, row.paused_because, row.pauses)


def release(connection: sa.Connection, lease: str, holder: str) -> None:
    """Let others acquire the lease at once, if `holder` has it."""
    held = lanes.update().where(lanes.c.name == lease, lanes.c.leased_by == holder)
    connection.execute(held.values(leased_by=None, leased_until=None))


def pause_reasons(connection: sa.Connection) -> dict[str, str]:
    """Return the reason for each paused lane, by its name; a paused repository's lane has the repository's name."""
    rows = connection.execute(sa.select(lanes.c.name, lanes.c.paused_because))
    return {name: reason for name, reason in rows if reason is not None}


def next_pending(connection: sa.Connection, lane: str = LANE, *, now: float) -> Pending | None:
    """Return the dispatch that is due first on the lane, now or later; those of paused repositories don't count."""
    paused = sa.select(lanes.c.name).where(
        lanes.c.name.contains("/"), lanes.c.next_at > now, lanes.c.next_at <= now + ACCESS_DELAY
    )
    columns = [dispatches.c[name] for name in Pending.__dataclass_fields__]
    query = (
        sa.select(*columns)
        .where(dispatches.c.lane == lane, IS_PENDING, dispatches.c.repository.not_in(paused))
        .where(dispatches.c.way.in_(DispatchMethod))  # a later release may have added others
        .order_by(dispatches.c.next_at, dispatches.c.id)
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    return Pending(**dict(row) | {"way": DispatchMethod(row["way"])}) if row else None


def begin_sending(
    connection: sa.Connection, seen: Pending, holder: str, *, now: float, settle: float
) -> Pending | None:
    """Record, before a request leaves, that GitHub may receive it; return the dispatch as it is then.

    None if it is no longer as seen, or `holder` no longer holds the lane: then it must not be sent. If nothing is
    written after that (a crash), the dispatch is due again `settle` seconds later. The lease is renewed.
    """
    row = _locked(connection, seen.lane)
    if row is None or row.leased_by != holder:
        return None
    values = {"sending_since": now, "next_at": now + settle}
    if not connection.execute(_as_seen(seen).values(values)).rowcount:
        return None
    _change(connection, seen.lane, leased_until=now + LEASE)
    return replace(seen, sending_since=now, next_at=now + settle)


def settle(
    connection: sa.Connection, seen: Pending, decision: Decision, holder: str, *, now: float, lane_next_at: float
) -> bool:
    """Write the outcome of the request; nothing on its lane is sent before `lane_next_at`, or the pause's end.

    False, and nothing has changed, if it is no longer as seen or `holder` no longer holds the lane.
    """
    row = _locked(connection, seen.lane)
    if row is None or row.leased_by != holder:
        return False
    if not connection.execute(_as_seen(seen).values(_dispatch_values(decision, now))).rowcount:
        return False
    lane: dict[str, Any] = {"next_at": lane_next_at, "paused_because": None, "pauses": 0}
    match decision:
        case Pause(until, reason, repository_only=True):
            _create(connection, seen.repository)
            _change(connection, seen.repository, **_paused(until, reason))
        case Pause(until, reason):
            lane = _paused(until, reason)
        case Sent() | Reject():
            _change(connection, seen.repository, next_at=now, paused_because=None, pauses=0)
    _change(connection, seen.lane, **lane)
    versions.record_attempt(connection, seen, decision, now)
    return True


def _dispatch_values(decision: Decision, now: float) -> dict[str, Any]:
    """Return the changed columns of the dispatch; only a pause counts no attempt."""
    values: dict[str, Any] = {"attempts": dispatches.c.attempts + 1, "sending_since": None}
    match decision:
        case Sent(run_id, run_url):
            values |= {"state": DispatchState.SENT, "reason": None, "sent_at": now}
            values |= {"run_id": run_id, "run_url": run_url}
        case Reject(reason):
            values |= {"state": DispatchState.REJECTED, "reason": reason, "ended_at": now}
        case Retry(at, reason):
            values |= {"next_at": at, "reason": reason}
        case VerifyThenRetry(at, reason):
            values |= {"next_at": at, "reason": reason}
            del values["sending_since"]
        case Pause(until, reason, verify_first, repository_only):
            # The repository that refuses this dispatch may accept the lane's others: those are tried first then.
            values = {"next_at": until if repository_only else dispatches.c.created_at, "reason": reason}
            values |= {} if verify_first else {"sending_since": None}
    return values


def _as_seen(seen: Pending) -> sa.Update:
    """Change the dispatch only if nobody has since `seen` was read."""
    return dispatches.update().where(
        dispatches.c.id == seen.id,
        dispatches.c.state == DispatchState.PENDING,
        dispatches.c.next_at == seen.next_at,
        dispatches.c.sending_since.is_not_distinct_from(seen.sending_since),
    )


def _locked(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    """Return the lane's row, which nobody else can change before this transaction's end."""
    return connection.execute(sa.select(lanes).where(lanes.c.name == name).with_for_update()).first()


def _create(connection: sa.Connection, name: str) -> None:
    connection.execute(
        insert(connection.dialect, lanes).values(name=name, next_at=0.0, pauses=0).on_conflict_do_nothing()
    )


def _paused(until: float, reason: str) -> dict[str, Any]:
    return {"next_at": until, "paused_because": reason, "pauses": lanes.c.pauses + 1}


def _change(connection: sa.Connection, name: str, **values: object) -> None:
    connection.execute(lanes.update().where(lanes.c.name == name).values(values))
