"""What can go wrong with the ledger, and how a driver's error becomes ours."""

import sqlite3

import sqlalchemy as sa

from bridge.core.errors import BridgeError


class LedgerUnavailable(BridgeError):
    """The database can't be read or written just now."""


class LedgerTooNew(LedgerUnavailable):
    """The database was made by a later release."""


class Unstorable(BridgeError):
    """The database can't store one of the values; it can still store others."""


def translated(error: Exception, hint: str) -> Exception:
    """Translate an error of the database into ours, and return any other error unchanged.

    Ours quotes only the driver's message, because SQLAlchemy's contains the statement and its values.
    """
    if isinstance(error, sa.exc.DataError | UnicodeError | OverflowError):
        return Unstorable(f"the ledger can't store one of the values ({type(error).__name__}): change it at its source")
    if isinstance(error, sa.exc.SQLAlchemyError | sqlite3.Error):
        return LedgerUnavailable(f"the ledger can't be used ({_cause(error)}): {hint}")
    return error


def _cause(error: Exception) -> str:
    """Give the first line: PostgreSQL's next ones may hold the values of the row."""
    said = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else str(error)
    if isinstance(error, sa.exc.SQLAlchemyError) and not isinstance(error, sa.exc.DBAPIError):
        said = type(error).__name__
    return said.partition("\n")[0]
