"""What can go wrong with the ledger, and how a driver's error becomes ours."""

import sqlite3

import sqlalchemy as sa

from bridge.errors import BridgeError


class LedgerUnavailable(BridgeError):
    """The database can't be read or written just now."""


class LedgerTooNew(LedgerUnavailable):
    """The database was made by a later release."""


class Unstorable(BridgeError):
    """The database has no form for one of the values; anything else can be stored all the same."""


def translated(error: Exception, mend: str) -> Exception:
    """Give our error for a database's, and what our own code did wrong as it is.

    Our error has the driver's words alone: SQLAlchemy's own hold statement and values.
    """
    if isinstance(error, sa.exc.DataError | UnicodeError | OverflowError):
        return Unstorable(f"the ledger can't store one of the values ({type(error).__name__}): change it at its source")
    if isinstance(error, sa.exc.SQLAlchemyError | sqlite3.Error):
        return LedgerUnavailable(f"the ledger can't be used ({_cause(error)}): {mend}")
    return error


def _cause(error: Exception) -> str:
    """Give the first line: PostgreSQL's next ones may hold the values of the row."""
    said = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else str(error)
    if isinstance(error, sa.exc.SQLAlchemyError) and not isinstance(error, sa.exc.DBAPIError):
        said = type(error).__name__
    return said.partition("\n")[0]
