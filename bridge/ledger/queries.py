"""What people look at: lists of model versions and deliveries, newest first, and one of them with its whole story.

However many there are, a look reads about as many rows as it gives. The one exception is a search that many names fit,
whose rows are all old: it reads on until it has found them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from bridge.core.dispatches import DispatchState
from bridge.core.events import Event, EventKind
from bridge.core.routing import DispatchMethod
from bridge.ledger.records import (
    Attempt,
    Delivery,
    DeliveryDetails,
    DispatchDetails,
    Filter,
    ResultPage,
    VersionSummary,
)
from bridge.ledger.schema import OF_DELIVERY, attempts, deliveries, dispatches, models, tells_of, versions

_NAMES: Final = 1000
"""A search that more names fit looks through the list instead of at each name."""

_FEW: Final = 2000
"""So many deliveries are rather sorted than looked for in the list of all."""

_STORIES: Final = 50
"""Deliveries of one version that are told of, and attempts of one dispatch."""

_Branch = tuple[sa.ColumnElement[bool], ...]


def listed(connection: sa.Connection, wanted: Filter) -> ResultPage[VersionSummary]:
    """Give the versions that are wanted, those first that were last told of or replayed."""
    branches = _branches(connection, wanted)
    if not branches:
        return ResultPage((), None)
    found = connection.execute(_merged(branches, wanted)).mappings().all()
    rows = tuple(VersionSummary(**dict(row) | {"state": DispatchState(row["state"])}) for row in found)
    return _part(rows, wanted, lambda row: row.latest_id)


def version(connection: sa.Connection, model: str, version: str) -> VersionSummary | None:
    """Give the version, if any delivery ever told of it."""
    one = versions.c.model == model, versions.c.version == version
    found = connection.execute(_merged([one], Filter())).mappings().first()
    return VersionSummary(**dict(found) | {"state": DispatchState(found["state"])}) if found else None


def stories(connection: sa.Connection, model: str, version: str) -> list[DeliveryDetails]:
    """Give the newest deliveries of the version, newest first, with all that became of them."""
    of_it = deliveries.c.model == model, tells_of(version)
    newest = sa.select(deliveries).where(*of_it).order_by(deliveries.c.received_at.desc(), deliveries.c.id)
    return _stories(connection, connection.execute(newest.limit(_STORIES)).all())


def story(connection: sa.Connection, delivery_id: str) -> DeliveryDetails | None:
    """Give the delivery with all that became of it."""
    found = connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).all()
    return next(iter(_stories(connection, found)), None)


def told(connection: sa.Connection, wanted: Filter) -> ResultPage[DeliveryDetails]:
    """Give the deliveries that are wanted, those first that came or were replayed last; `state` is the last one's."""
    about = _about(wanted)
    few = (
        bool(about) and len(connection.execute(sa.select(deliveries.c.id).where(*about).limit(_FEW + 1)).all()) <= _FEW
    )
    newest = _newest_of_few(connection, wanted, about) if few else _newest_of_all(connection, wanted, about)
    part = _part(newest, wanted, lambda pair: pair[0])
    ids = [delivery_id for _, delivery_id in part.rows]
    found = connection.execute(sa.select(deliveries).where(deliveries.c.id.in_(ids))).all()
    by_id = {story.delivery.id: story for story in _stories(connection, found)}
    return ResultPage(tuple(by_id[each] for each in ids), part.next)


def _branches(connection: sa.Connection, wanted: Filter) -> list[_Branch]:
    """Give conditions that each have an index in the list's order, and together fit what is wanted."""
    more = [versions.c.version == wanted.version] if wanted.version is not None else []
    if wanted.model is None and not wanted.search:
        return [(_listed(wanted.state), *more)]
    fits = models.c.name == wanted.model if wanted.model is not None else _folded(wanted.search)
    names = connection.execute(sa.select(models.c.name).where(fits).limit(_NAMES + 1)).all()
    if len(names) > _NAMES:
        fit = sa.exists().where(models.c.name == versions.c.model, fits)
        return [(_listed(wanted.state), fit, *more)]
    return [(*branch, *more) for branch in _by_name(connection, wanted, fits, more)]


def _by_name(
    connection: sa.Connection, wanted: Filter, fits: sa.ColumnElement[bool], more: Sequence[sa.ColumnElement[bool]]
) -> list[_Branch]:
    """Give a condition for each name and state that may have one of the newest: no more than are wanted."""
    states = [wanted.state] if wanted.state else list(DispatchState)
    newest = [
        sa.select(sa.func.max(versions.c.latest_id))
        .where(versions.c.model == models.c.name, versions.c.state == state, *more)
        .where(*_older(versions.c.latest_id, wanted))
        .scalar_subquery()
        for state in states
    ]
    found = connection.execute(sa.select(models.c.name, *newest).where(fits))
    heads = [
        (latest, name, state) for name, *each in found for state, latest in zip(states, each, strict=True) if latest
    ]
    heads.sort(reverse=True)
    return [(versions.c.model == name, versions.c.state == state) for _, name, state in heads[: wanted.limit + 1]]


def _listed(state: DispatchState | None) -> sa.ColumnElement[bool]:
    return versions.c.latest_id.is_not(None) if state is None else versions.c.state == state


def _folded(search: str) -> sa.ColumnElement[bool]:
    return models.c.folded.contains(search.casefold(), autoescape=True)


def _older(column: sa.ColumnElement[str], wanted: Filter) -> list[sa.ColumnElement[bool]]:
    return [column < wanted.before] if wanted.before else []


def _merged(branches: Iterable[_Branch], wanted: Filter) -> sa.Select[Any]:
    """Take the newest of each branch, and of these the newest, with their dispatches; one more than is wanted."""
    parts = [
        sa.select(versions)
        .where(*branch, *_older(versions.c.latest_id, wanted))
        .order_by(versions.c.latest_id.desc())
        .limit(wanted.limit + 1)
        .subquery()
        .select()
        for branch in branches
    ]
    few = sa.union_all(*parts).subquery() if len(parts) > 1 else parts[0].subquery()
    own = [few.c[name] for name in ("model", "version", "state", "latest_id", "told_at", "dispatch_id")]
    own += [few.c[name] for name in ("image_uri", "image_status")]
    theirs = [dispatches.c[name] for name in ("delivery_id", "repository", "reason", "run_url")]
    joined = few.join(dispatches, dispatches.c.id == few.c.dispatch_id)
    query = sa.select(*own, *theirs).select_from(joined).order_by(few.c.latest_id.desc())
    return query.limit(wanted.limit + 1)


def _part(rows: Sequence[Any], wanted: Filter, key: Any) -> ResultPage[Any]:
    """Cut off the row too many, which only says that there is more."""
    shown = tuple(rows[: wanted.limit])
    return ResultPage(shown, key(shown[-1]) if len(rows) > len(shown) else None)


def _about(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.search:
        found.append(deliveries.c.model.in_(sa.select(models.c.name).where(_folded(wanted.search))))
    if wanted.model is not None:
        found.append(deliveries.c.model == wanted.model)
    if wanted.version is not None:
        found.append(tells_of(wanted.version))
    return found


def _newest_of_few(
    connection: sa.Connection, wanted: Filter, about: Iterable[sa.ColumnElement[bool]]
) -> list[tuple[str, str]]:
    query = sa.select(dispatches.c.delivery_id, dispatches.c.id, dispatches.c.state)
    query = query.join(deliveries, OF_DELIVERY).where(*about)
    newest: dict[str, tuple[str, str]] = {}
    for delivery_id, dispatch_id, state in connection.execute(query):
        newest[delivery_id] = max(newest.get(delivery_id, ("", "")), (dispatch_id, state))
    found = [(dispatch_id, delivery_id, state) for delivery_id, (dispatch_id, state) in newest.items()]
    found = [each for each in found if wanted.state in (None, each[2]) and each[0] < (wanted.before or "\U0010ffff")]
    return [each[:2] for each in sorted(found, reverse=True)[: wanted.limit + 1]]


def _newest_of_all(
    connection: sa.Connection, wanted: Filter, about: Sequence[sa.ColumnElement[bool]]
) -> list[tuple[str, str]]:
    newer = dispatches.alias()
    query = sa.select(dispatches.c.id, dispatches.c.delivery_id).where(
        ~sa.exists().where(
            newer.c.received_at == dispatches.c.received_at,
            newer.c.delivery_id == dispatches.c.delivery_id,
            newer.c.id > dispatches.c.id,
        ),
        *_older(dispatches.c.id, wanted),
    )
    if wanted.state:
        query = query.where(dispatches.c.state == wanted.state)
    if about:
        query = query.join(deliveries, deliveries.c.id == dispatches.c.delivery_id).where(*about)
    found = connection.execute(query.order_by(dispatches.c.id.desc()).limit(wanted.limit + 1))
    return [(dispatch_id, delivery_id) for dispatch_id, delivery_id in found]


def _stories(connection: sa.Connection, found: Sequence[sa.Row[Any]]) -> list[DeliveryDetails]:
    sent = _sent(connection, found)
    return [DeliveryDetails(_delivery(row), tuple(sent[row.id])) for row in found]


def _delivery(row: sa.Row[Any]) -> Delivery:
    event = Event(EventKind(row.kind), row.model, row.version, row.alias, row.tag, row.source, row.run_id)
    return Delivery(row.id, event, row.received_at)


def _sent(connection: sa.Connection, told: Sequence[sa.Row[Any]]) -> Mapping[str, list[DispatchDetails]]:
    columns = [dispatches.c[name] for name in DispatchDetails.__dataclass_fields__ if name != "answers"]
    mine = deliveries.c.id.in_([row.id for row in told])
    query = sa.select(*columns).join(deliveries, OF_DELIVERY).where(mine).order_by(dispatches.c.id.desc())
    rows = connection.execute(query).mappings().all()
    answers = _answers(connection, [row["id"] for row in rows])
    found: dict[str, list[DispatchDetails]] = defaultdict(list)
    for row in rows:
        typed = {
            "state": DispatchState(row["state"]),
            "way": DispatchMethod(row["way"]),
            "answers": tuple(answers[row["id"]]),
        }
        found[row["delivery_id"]].append(DispatchDetails(**dict(row) | typed))
    return found


def _answers(connection: sa.Connection, dispatch_ids: Sequence[str]) -> Mapping[str, list[Attempt]]:
    """Give the last attempts at each dispatch, in their order."""
    found: dict[str, list[Attempt]] = defaultdict(list)
    query = sa.select(attempts).where(attempts.c.dispatch_id.in_(dispatch_ids)).order_by(attempts.c.first_at)
    for row in connection.execute(query):
        found[row.dispatch_id].append(Attempt(row.first_at, row.last_at, row.times, row.outcome, row.answer))
    return defaultdict(list, {each: answers[-_STORIES:] for each, answers in found.items()})
