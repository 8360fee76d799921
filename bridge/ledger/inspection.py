"""The ledger beside a running bridge: checked and opened as it is, neither created nor migrated."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.core.errors import BridgeError
from bridge.core.findings import Finding, FindingState, failed, ok, warning
from bridge.ledger.database import HEAD, Database, revision
from bridge.ledger.errors import LedgerUnavailable, translated
from bridge.ledger.ledger import Ledger

CHECK: Final = "ledger"
_SQLITE: Final = "sqlite:///"
_LOW_SPACE: Final = 100 * 1024 * 1024
"""Bytes."""

_FOLDER_HINT: Final = "create the folder in DATABASE_URL on a persistent disk, and let the bridge's user write to it"


@dataclass(frozen=True)
class LedgerStatus:
    """The state of a database. `revision` is None before the bridge's first start; `free` are bytes beside a file."""

    place: str
    revision: str | None = None
    error: BridgeError | None = None
    free: int | None = None


def inspect(url: str) -> LedgerStatus:
    """Inspect the database of a DATABASE_URL; a problem is returned as `error`, never raised."""
    if not url.startswith(_SQLITE):
        return _inspect_database(url, "PostgreSQL", None)
    file = Path(url.removeprefix(_SQLITE))
    if not file.parent.is_dir():
        return LedgerStatus(str(file), error=LedgerUnavailable("its folder does not exist", _FOLDER_HINT))
    free = shutil.disk_usage(file.parent).free
    if not os.access(file.parent, os.W_OK):
        return LedgerStatus(str(file), error=LedgerUnavailable("its folder is not writable", _FOLDER_HINT), free=free)
    return _inspect_database(url, str(file), free) if file.exists() else LedgerStatus(str(file), free=free)


def _inspect_database(url: str, place: str, free: int | None) -> LedgerStatus:
    try:
        database = Database(url)
    except LedgerUnavailable as error:
        return LedgerStatus(place, error=error)
    try:
        with database.writing() as connection:
            current = revision(connection)
            if current is not None:
                # Changes no row, and fails if the tables can't be written.
                connection.exec_driver_sql("UPDATE lanes SET pauses = pauses WHERE 1 = 0")
            return LedgerStatus(place, current, free=free)
    except Exception as error:
        ledger_error = translated(error, database.hint)
        if not isinstance(ledger_error, BridgeError):
            raise
        return LedgerStatus(place, error=ledger_error, free=free)
    finally:
        database.close()


def check(status: LedgerStatus) -> Finding:
    """Return the finding for a status."""
    place, current, error = status.place, status.revision, status.error
    if error:
        return failed(CHECK, place, error.message, error.hint)
    if status.free is not None and status.free < _LOW_SPACE:
        message = f"only {status.free // 1024**2} MiB are free on its disk"
        return warning(CHECK, place, message, "free some space, or move the ledger and change DATABASE_URL")
    if current is None:
        return ok(CHECK, place, "not created yet; the bridge creates it at its first start")
    if current > HEAD:
        message = f"it was updated by a later release (its schema is {current}, this release's is {HEAD})"
        return failed(CHECK, place, message, "use that release, or set DATABASE_URL to another database")
    if current < HEAD:
        message = f"its schema is {current}, this release's is {HEAD}"
        return warning(CHECK, place, message, "run `mlflow-bridge serve` of this release, which upgrades it")
    return ok(CHECK, place, "writable, with this release's schema")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """Open the ledger of a DATABASE_URL; raises `LedgerUnavailable` if it doesn't exist or is of another release."""
    status = await asyncio.to_thread(inspect, url)
    finding = check(status)
    if finding.state is FindingState.FAILED:
        raise LedgerUnavailable(f"the ledger can't be used ({finding.message})", finding.hint)
    if status.revision != HEAD:
        problem = "is empty" if status.revision is None else "was created by an earlier release"
        raise LedgerUnavailable(f"the ledger {problem}", "run `mlflow-bridge serve` of this release first")
    ledger = Ledger(url)
    try:
        yield ledger
    finally:
        await ledger.close()
