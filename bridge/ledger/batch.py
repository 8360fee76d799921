"""Rows written many to a statement. It is spelled here: SQLAlchemy takes longer to do so than the database to write."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import sqlalchemy as sa

_ROWS: Final = 32
"""Rows in one statement, so that the drivers keep every statement that there is, ready to run."""


class Insert(NamedTuple):
    """An INSERT: what comes before the rows, the form of a row with `{0}` for a value, and what comes after them."""

    head: str
    row: str
    tail: str = ""


def write(connection: sa.Connection, insert: Insert, rows: Sequence[Sequence[object]]) -> int:
    """Insert the rows, and give the number of those that went in."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    written = 0
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        values = tuple(value for row in some for value in row)
        written += connection.exec_driver_sql(_statement(insert, len(some), mark), values).rowcount
    return written


@lru_cache(maxsize=8 * _ROWS)
def _statement(insert: Insert, count: int, mark: str) -> str:
    rows = ", ".join([insert.row.format(mark)] * count)
    return f"{insert.head} {rows} {insert.tail}"
