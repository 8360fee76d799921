"""The ledger as it is, looked at without changing it: neither made nor migrated, and no writer has to wait for us."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from bridge.core.findings import Finding, failed, ok, warning
from bridge.ledger import LedgerUnavailable
from bridge.ledger.database import HEAD, Database
from bridge.ledger.errors import translated

CHECK: Final = "ledger"
_SQLITE: Final = "sqlite:///"
_LITTLE: Final = 100 * 1024 * 1024
"""Bytes."""


@dataclass(frozen=True)
class SeenLedger:
    """What was seen. `revision` is None where no table has been made yet; `free` are bytes beside a file."""

    place: str
    there: bool = True
    revision: str | None = None
    problem: str | None = None
    hint: str = ""
    free: int | None = None


def look(url: str) -> SeenLedger:
    """Look at the database of a DATABASE_URL; never raises for what is wrong with it."""
    if not url.startswith(_SQLITE):
        return _database(url, "PostgreSQL", None)
    file = Path(url.removeprefix(_SQLITE))
    place = str(file)
    if not file.parent.is_dir():
        return SeenLedger(place, there=False, problem="its folder is not there", hint=_MEND)
    free = shutil.disk_usage(file.parent).free
    if not os.access(file.parent, os.W_OK):
        return SeenLedger(place, there=file.exists(), problem="its folder can't be written", hint=_MEND, free=free)
    if not file.exists():
        return SeenLedger(place, there=False, free=free)
    return _database(url, place, free)


_MEND: Final = "make the folder of DATABASE_URL, on a disk that stays, and let the bridge's user write there"


def _database(url: str, place: str, free: int | None) -> SeenLedger:
    try:
        database = Database(url)
    except LedgerUnavailable as error:
        said, _, hint = str(error).partition(": ")
        return SeenLedger(place, problem=said, hint=hint)
    try:
        return SeenLedger(place, revision=_revision(database), free=free)
    except Exception as error:
        ours = translated(error, database.hint)
        if ours is error:
            raise
        said, _, hint = str(ours).rpartition(": ")
        return SeenLedger(place, problem=said, hint=hint, free=free)
    finally:
        database.close()


def _revision(database: Database) -> str | None:
    """Give the newest migration; raises a driver's error where the tables can't be written, by a write of no row."""
    with database.writing() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        connection.exec_driver_sql("UPDATE lanes SET pauses = pauses WHERE 1 = 0")
        return revision


def judge(seen: SeenLedger) -> Finding:
    """Say what that means for the bridge."""
    if seen.problem:
        return failed(CHECK, seen.place, seen.problem, seen.hint)
    if seen.free is not None and seen.free < _LITTLE:
        said = f"only {seen.free // 1024**2} MiB are free on its disk"
        return warning(CHECK, seen.place, said, "make room, or move the ledger by DATABASE_URL")
    if seen.revision is None:
        return ok(CHECK, seen.place, "it will be made at the bridge's first start")
    if seen.revision > HEAD:
        said = f"a later release made it (its schema is {seen.revision}, this release knows {HEAD})"
        return failed(CHECK, seen.place, said, "start that release, or give DATABASE_URL another database")
    if seen.revision < HEAD:
        said = f"its schema is {seen.revision}, this release's is {HEAD}"
        return warning(CHECK, seen.place, said, "start this release's `mlflow-bridge serve`: it brings it up to date")
    return ok(CHECK, seen.place, "it can be written, and its schema is this release's")
