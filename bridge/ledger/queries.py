"""Queries for people and metrics: lists of versions and deliveries, newest first; one of them in detail; figures.

However many there are, a query reads about as many rows as it returns. The one exception is a search that matches many
names whose rows are all old: it reads on until it has found them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from bridge.core.dispatches import DispatchState
from bridge.core.events import Event, EventKind
from bridge.core.routing import DispatchMethod
from bridge.ledger.lanes import pause_reasons
from bridge.ledger.records import (
    Attempt,
    Delivery,
    DeliveryDetails,
    DispatchDetails,
    Figures,
    Filter,
    LastDelivery,
    ResultPage,
    VersionSummary,
)
from bridge.ledger.schema import (
    IS_PENDING,
    OF_DELIVERY,
    attempts,
    deliveries,
    dispatches,
    is_about,
    lanes,
    models,
    versions,
)

_MAX_NAMES: Final = 1000
"""A search that matches more names reads through the list of versions instead of asking for each name."""

_FEW: Final = 2000
"""Up to so many matching deliveries are all read and sorted; more are searched for in the list of all."""

_MAX_DETAILS: Final = 50
"""Deliveries of one version, and attempts of one dispatch, that are returned."""

_Row = TypeVar("_Row")
_Branch = tuple[sa.ColumnElement[bool], ...]


def list_versions(connection: sa.Connection, criteria: Filter) -> ResultPage[VersionSummary]:
    """Return the versions that match, the most recently reported or replayed first."""
    branches = _branches(connection, criteria)
    if not branches:
        return ResultPage((), None)
    rows = connection.execute(_merged(branches, criteria)).mappings()
    return _page([_summary(row) for row in rows], criteria, lambda summary: summary.latest_id)


def find_version(
    connection: sa.Connection, model: str, version: str
) -> tuple[VersionSummary, list[DeliveryDetails]] | None:
    """Return the version and its newest deliveries, newest first; None if no delivery ever reported it."""
    key = versions.c.model == model, versions.c.version == version
    summary = connection.execute(_merged([key], Filter())).mappings().first()
    if summary is None:
        return None
    query = sa.select(deliveries).where(deliveries.c.model == model, is_about(version))
    newest = query.order_by(deliveries.c.received_at.desc(), deliveries.c.id).limit(_MAX_DETAILS)
    return _summary(summary), _details(connection, connection.execute(newest).all())


def list_deliveries(connection: sa.Connection, criteria: Filter) -> ResultPage[DeliveryDetails]:
    """Return the deliveries that match, the most recently received or replayed first.

    `state` is compared with that of a delivery's last dispatch.
    """
    conditions = _delivery_conditions(criteria)
    ids = sa.select(deliveries.c.id).where(*conditions).limit(_FEW + 1)
    are_few = bool(conditions) and len(connection.execute(ids).all()) <= _FEW
    newest = (_newest_of_few if are_few else _newest_of_all)(connection, criteria, conditions)
    page = _page(newest, criteria, lambda pair: pair[0])
    delivery_ids = [delivery_id for _, delivery_id in page.rows]
    rows = connection.execute(sa.select(deliveries).where(deliveries.c.id.in_(delivery_ids))).all()
    by_id = {details.delivery.id: details for details in _details(connection, rows)}
    return ResultPage(tuple(by_id[delivery_id] for delivery_id in delivery_ids), page.next)


def find_delivery(connection: sa.Connection, delivery_id: str) -> DeliveryDetails | None:
    """Return the delivery and everything that was sent for it."""
    rows = connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).all()
    return next(iter(_details(connection, rows)), None)


def last_delivery(
    connection: sa.Connection, kind: EventKind, model: str, *, version: str | None = None, alias: str | None = None
) -> LastDelivery | None:
    """Return the model's newest delivery of that kind, of that version or alias if one is named."""
    query = (
        sa.select(deliveries.c.id, deliveries.c.version, deliveries.c.received_at)
        .where(deliveries.c.model == model, deliveries.c.kind == kind)
        .order_by(deliveries.c.received_at.desc(), deliveries.c.id.desc())
        .limit(1)
    )
    if version is not None:
        query = query.where(is_about(version))
    if alias is not None:
        query = query.where(deliveries.c.alias == alias)
    row = connection.execute(query).mappings().first()
    return LastDelivery(**row) if row else None


def figures(connection: sa.Connection, *, now: float) -> Figures:
    """Count the dispatches; a state that none is in has 0."""
    rows = connection.execute(sa.select(dispatches.c.state, sa.func.count()).group_by(dispatches.c.state))
    counts: dict[str, int] = {state: int(count) for state, count in rows}
    # The count and the lanes are there for SQLite: for min() alone it would read the whole table.
    waiting = sa.select(sa.func.min(dispatches.c.created_at), sa.func.count())
    on_lanes = dispatches.c.lane.in_(sa.select(lanes.c.name))
    oldest = connection.execute(waiting.where(IS_PENDING, on_lanes)).one()[0]
    return Figures(
        dispatches={state: counts.get(state, 0) for state in DispatchState},
        oldest_pending=None if oldest is None else max(0.0, now - oldest),
        paused=pause_reasons(connection),
    )


def _branches(connection: sa.Connection, criteria: Filter) -> list[_Branch]:
    """Return conditions that each have an index in the list's order, and that together match the criteria."""
    by_version = [versions.c.version == criteria.version] if criteria.version is not None else []
    if criteria.model is None and not criteria.search:
        return [(_is_listed(criteria.state), *by_version)]
    matches = models.c.name == criteria.model if criteria.model is not None else _folded(criteria.search)
    names = connection.execute(sa.select(models.c.name).where(matches).limit(_MAX_NAMES + 1)).all()
    if len(names) > _MAX_NAMES:
        has_match = sa.exists().where(models.c.name == versions.c.model, matches)
        return [(_is_listed(criteria.state), has_match, *by_version)]
    return [(*branch, *by_version) for branch in _by_name(connection, criteria, matches, by_version)]


def _by_name(
    connection: sa.Connection,
    criteria: Filter,
    matches: sa.ColumnElement[bool],
    by_version: Sequence[sa.ColumnElement[bool]],
) -> list[_Branch]:
    """Return a condition for each pair of name and state that can be on the page: no more than the page has rows.

    The index is by name, state, then age. Asked for several names at once, the database would read all their rows and
    sort them. So it is first asked for the newest row of each pair, one step in the index each, and then only the pairs
    whose newest row is among the newest of all: no other pair has a row on this page.
    """
    states = [criteria.state] if criteria.state else list(DispatchState)
    newest = [
        sa.select(sa.func.max(versions.c.latest_id))
        .where(versions.c.model == models.c.name, versions.c.state == state, *by_version)
        .where(*_older(versions.c.latest_id, criteria))
        .scalar_subquery()
        for state in states
    ]
    rows = connection.execute(sa.select(models.c.name, *newest).where(matches))
    heads = [(id_, name, state) for name, *ids in rows for state, id_ in zip(states, ids, strict=True) if id_]
    heads.sort(reverse=True)
    return [(versions.c.model == name, versions.c.state == state) for _, name, state in heads[: criteria.limit + 1]]


def _is_listed(state: DispatchState | None) -> sa.ColumnElement[bool]:
    return versions.c.latest_id.is_not(None) if state is None else versions.c.state == state


def _folded(search: str) -> sa.ColumnElement[bool]:
    return models.c.folded.contains(search.casefold(), autoescape=True)


def _older(column: sa.ColumnElement[str], criteria: Filter) -> list[sa.ColumnElement[bool]]:
    return [column < criteria.before] if criteria.before else []


def _merged(branches: Iterable[_Branch], criteria: Filter) -> sa.Select[Any]:
    """Select the newest of each branch, and of these the newest, with their dispatches; one more than a page has."""
    selects = [
        sa.select(versions)
        .where(*branch, *_older(versions.c.latest_id, criteria))
        .order_by(versions.c.latest_id.desc())
        .limit(criteria.limit + 1)
        .subquery()
        .select()
        for branch in branches
    ]
    newest = sa.union_all(*selects).subquery() if len(selects) > 1 else selects[0].subquery()
    columns = [newest.c[name] for name in ("model", "version", "state", "latest_id", "told_at", "dispatch_id")]
    columns += [newest.c[name] for name in ("image_uri", "image_status")]
    dispatch_columns = [dispatches.c[name] for name in ("delivery_id", "repository", "reason", "run_url")]
    joined = newest.join(dispatches, dispatches.c.id == newest.c.dispatch_id)
    query = sa.select(*columns, *dispatch_columns).select_from(joined).order_by(newest.c.latest_id.desc())
    return query.limit(criteria.limit + 1)


def _page(rows: Sequence[_Row], criteria: Filter, key: Callable[[_Row], str]) -> ResultPage[_Row]:
    """Cut off the extra row, which only shows that there are more."""
    shown = tuple(rows[: criteria.limit])
    return ResultPage(shown, key(shown[-1]) if len(rows) > len(shown) else None)


def _delivery_conditions(criteria: Filter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if criteria.search:
        conditions.append(deliveries.c.model.in_(sa.select(models.c.name).where(_folded(criteria.search))))
    if criteria.model is not None:
        conditions.append(deliveries.c.model == criteria.model)
    if criteria.version is not None:
        conditions.append(is_about(criteria.version))
    return conditions


def _newest_of_few(
    connection: sa.Connection, criteria: Filter, conditions: Iterable[sa.ColumnElement[bool]]
) -> list[tuple[str, str]]:
    query = sa.select(dispatches.c.delivery_id, dispatches.c.id, dispatches.c.state)
    query = query.join(deliveries, OF_DELIVERY).where(*conditions)
    newest: dict[str, tuple[str, str]] = {}
    for delivery_id, dispatch_id, state in connection.execute(query):
        newest[delivery_id] = max(newest.get(delivery_id, ("", "")), (dispatch_id, state))
    before = criteria.before or "\U0010ffff"
    matching = [
        (dispatch_id, delivery_id)
        for delivery_id, (dispatch_id, state) in newest.items()
        if criteria.state in (None, state) and dispatch_id < before
    ]
    return sorted(matching, reverse=True)[: criteria.limit + 1]


def _newest_of_all(
    connection: sa.Connection, criteria: Filter, conditions: Sequence[sa.ColumnElement[bool]]
) -> list[tuple[str, str]]:
    newer = dispatches.alias()
    query = sa.select(dispatches.c.id, dispatches.c.delivery_id).where(
        ~sa.exists().where(
            newer.c.received_at == dispatches.c.received_at,
            newer.c.delivery_id == dispatches.c.delivery_id,
            newer.c.id > dispatches.c.id,
        ),
        *_older(dispatches.c.id, criteria),
    )
    if criteria.state:
        query = query.where(dispatches.c.state == criteria.state)
    if conditions:
        query = query.join(deliveries, deliveries.c.id == dispatches.c.delivery_id).where(*conditions)
    rows = connection.execute(query.order_by(dispatches.c.id.desc()).limit(criteria.limit + 1))
    return [(dispatch_id, delivery_id) for dispatch_id, delivery_id in rows]


def _summary(row: sa.RowMapping) -> VersionSummary:
    return VersionSummary(**dict(row) | {"state": DispatchState(row["state"])})


def _details(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[DeliveryDetails]:
    """Return each delivery with its dispatches, newest first, and their last attempts, oldest first."""
    columns = [dispatches.c[name] for name in DispatchDetails.__dataclass_fields__ if name != "answers"]
    of_rows = deliveries.c.id.in_([row.id for row in rows])
    query = sa.select(*columns).join(deliveries, OF_DELIVERY).where(of_rows).order_by(dispatches.c.id.desc())
    dispatch_rows = connection.execute(query).mappings().all()
    answers: dict[str, list[Attempt]] = defaultdict(list)
    of_dispatches = attempts.c.dispatch_id.in_([row["id"] for row in dispatch_rows])
    for row in connection.execute(sa.select(attempts).where(of_dispatches).order_by(attempts.c.first_at)):
        answers[row.dispatch_id].append(Attempt(row.first_at, row.last_at, row.times, row.outcome, row.answer))
    by_delivery: dict[str, list[DispatchDetails]] = defaultdict(list)
    for values in map(dict, dispatch_rows):
        values |= {"state": DispatchState(values["state"]), "way": DispatchMethod(values["way"])}
        values["answers"] = tuple(answers[values["id"]][-_MAX_DETAILS:])
        by_delivery[values["delivery_id"]].append(DispatchDetails(**values))
    details = []
    for row in rows:
        event = Event(EventKind(row.kind), row.model, row.version, row.alias, row.tag, row.source, row.run_id)
        details.append(DeliveryDetails(Delivery(row.id, event, row.received_at), tuple(by_delivery[row.id])))
    return details
