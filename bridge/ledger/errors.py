"""What can go wrong with the ledger, and how a driver's error becomes ours."""

import sqlite3

import sqlalchemy as sa

from bridge.errors import BridgeError


class LedgerUnavailable(BridgeError):
    """The database can't be read or written just now."""


class LedgerTooNew(LedgerUnavailable):
    """The database was made by a later release."""


def unavailable(error: Exception, mend: str) -> LedgerUnavailable:
    """Give our error for a driver's, with the driver's words alone: SQLAlchemy's own hold statement and values."""
    return LedgerUnavailable(f"the ledger can't be used ({_cause(error)}): {mend}")


def is_of_a_driver(error: BaseException) -> bool:
    """Tell what a database said from what our own code did wrong."""
    return isinstance(error, sa.exc.SQLAlchemyError | sqlite3.Error)


def _cause(error: Exception) -> str:
    """Give the first line: PostgreSQL's next ones may hold the values of the row."""
    said = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else str(error)
    if isinstance(error, sa.exc.SQLAlchemyError) and not isinstance(error, sa.exc.DBAPIError):
        said = type(error).__name__
    return said.partition("\n")[0]
