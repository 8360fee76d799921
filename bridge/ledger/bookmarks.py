"""The state that a loop keeps between two steps: a text under a name."""

import sqlalchemy as sa

from bridge.ledger.database import insert
from bridge.ledger.schema import bookmarks


def read_bookmark(connection: sa.Connection, name: str) -> str | None:
    """Return the text of that name, if one was ever written."""
    return connection.scalar(sa.select(bookmarks.c.text).where(bookmarks.c.name == name))


def write_bookmark(connection: sa.Connection, name: str, text: str) -> None:
    """Store the text in place of the previous one."""
    new = insert(connection.dialect, bookmarks).values(name=name, text=text)
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"text": text}))
