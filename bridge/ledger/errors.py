"""The ledger's errors, and the translation of a driver's error into them."""

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
    """Return an error of the database as ours, with it as the cause, and any other error unchanged.

    Ours quotes only the driver's message, because SQLAlchemy's contains the statement and its values.
    """
    ledger_error: BridgeError
    if isinstance(error, sa.exc.DataError | UnicodeError | OverflowError):
        ledger_error = Unstorable(
            f"the ledger can't store one of the values ({type(error).__name__})", "change it at its source"
        )
    elif isinstance(error, sa.exc.SQLAlchemyError | sqlite3.Error):
        ledger_error = LedgerUnavailable(f"the ledger can't be used ({_cause(error)})", hint)
    else:
        return error
    ledger_error.__cause__ = error
    return ledger_error


def _cause(error: Exception) -> str:
    """Return the driver's first line: PostgreSQL's next ones may hold the values of the row."""
    if isinstance(error, sa.exc.DBAPIError):
        return str(error.orig).partition("\n")[0]
    return type(error).__name__ if isinstance(error, sa.exc.SQLAlchemyError) else str(error).partition("\n")[0]
