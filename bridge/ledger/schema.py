"""The tables as queries see them; the migrations say how they are made, with keys and indexes."""

from typing import Final

import sqlalchemy as sa

_metadata: Final = sa.MetaData()

deliveries: Final = sa.Table(
    "deliveries",
    _metadata,
    *(sa.Column(name, sa.Text) for name in ("id", "kind", "model", "version", "alias", "tag", "source", "run_id")),
    sa.Column("received_at", sa.Double),
)
lanes: Final = sa.Table(
    "lanes",
    _metadata,
    *(sa.Column(name, sa.Text) for name in ("name", "paused_because", "leased_by")),
    *(sa.Column(name, sa.Double) for name in ("next_at", "leased_until")),
    sa.Column("pauses", sa.Integer),
)
dispatches: Final = sa.Table(
    "dispatches",
    _metadata,
    *(sa.Column(name, sa.Text) for name in ("id", "delivery_id", "lane", "route", "repository", "event_type")),
    *(sa.Column(name, sa.Text) for name in ("payload", "way", "workflow", "ref", "state", "reason", "run_url")),
    *(sa.Column(name, sa.Double) for name in ("received_at", "next_at", "sending_since", "sent_at", "created_at")),
    *(sa.Column(name, sa.Double) for name in ("started_at", "seen_at", "ended_at")),
    sa.Column("attempts", sa.Integer),
    sa.Column("run_id", sa.BigInteger),
)
IS_PENDING: Final = dispatches.c.state == sa.literal_column("'pending'")
"""Spelled as in the index; otherwise SQLite would not use it."""

OF_DELIVERY: Final = sa.and_(
    dispatches.c.received_at == deliveries.c.received_at, dispatches.c.delivery_id == deliveries.c.id
)
"""Joins a delivery to its dispatches by the time that it was received at, because their index begins with it."""


def is_about(version: str) -> sa.ColumnElement[bool]:
    """Return the condition that a delivery is about this version of its model, as the index by versions has it.

    The index sorts versions by length first, which is the order of their numbers: a new one goes to its model's end.
    `BETWEEN` instead of `=`: SQLite would put an equality's value into the length, too, and then not find the index.
    """
    column = deliveries.c.version
    return sa.and_(sa.func.length(column) == len(version), column.between(version, version))


versions: Final = sa.Table(
    "versions",
    _metadata,
    *(sa.Column(name, sa.Text) for name in ("model", "version", "image_uri", "image_status")),
    *(sa.Column(name, sa.Text) for name in ("state", "dispatch_id", "latest_id")),
    *(sa.Column(name, sa.Double) for name in ("told_at", "read_at")),
)
models: Final = sa.Table("models", _metadata, *(sa.Column(name, sa.Text) for name in ("name", "folded")))
attempts: Final = sa.Table(
    "attempts",
    _metadata,
    *(sa.Column(name, sa.Text) for name in ("dispatch_id", "outcome", "answer")),
    *(sa.Column(name, sa.Double) for name in ("first_at", "last_at")),
    sa.Column("times", sa.Integer),
)
bookmarks: Final = sa.Table("bookmarks", _metadata, *(sa.Column(name, sa.Text) for name in ("name", "text")))
