import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bridge.core.findings import FindingState
from bridge.ledger import Ledger, LedgerUnavailable
from bridge.ledger.database import HEAD
from bridge.ledger.inspection import LedgerStatus, check, inspect, opened


async def made(url: str) -> None:
    ledger = Ledger(url)
    await ledger.start()
    await ledger.close()


def test_a_ledger_of_this_release_is_ok(database_url: str) -> None:
    asyncio.run(made(database_url))
    seen = inspect(database_url)
    assert (seen.revision, seen.error) == (HEAD, None)
    assert check(seen).state is FindingState.OK


def test_inspecting_creates_nothing(database_url: str, tmp_path: Path) -> None:
    finding = check(inspect(database_url))
    assert finding.state is FindingState.OK
    assert list(tmp_path.iterdir()) == []
    assert inspect(database_url).revision is None


def test_inspecting_leaves_a_running_bridges_writes_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    asyncio.run(made(url))
    before = (tmp_path / "ledger.db").read_bytes()
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, timeout=0)) as other:
        inspect(url)
        other.execute("BEGIN IMMEDIATE")  # fails at once if the database is locked
        other.execute("ROLLBACK")
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_a_database_that_cannot_be_written_is_named(postgres_url: str) -> None:
    asyncio.run(made(postgres_url))
    assert check(inspect(postgres_url)).state is FindingState.OK
    finding = check(inspect(f"{postgres_url}?options=-c%20default_transaction_read_only%3Don"))
    assert finding.state is FindingState.FAILED
    assert "read-only transaction" in finding.message
    assert "PostgreSQL" in finding.hint


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    (tmp_path / "ledger.db").write_bytes(b"no database, but text that is long enough" * 100)
    finding = check(inspect(url))
    assert finding.state is FindingState.FAILED
    assert "file is not a database" in finding.message


def test_a_folder_where_no_file_can_be_made_is_named() -> None:
    finding = check(inspect("sqlite:////nowhere/at/all/ledger.db"))
    assert (finding.state, finding.subject) == (FindingState.FAILED, "/nowhere/at/all/ledger.db")
    assert "DATABASE_URL" in finding.hint


def test_a_password_is_in_no_finding() -> None:
    finding = check(inspect("postgresql://user:sentinel@127.0.0.1:1/ledger"))
    assert finding.state is FindingState.FAILED
    assert "sentinel" not in str(finding)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (LedgerStatus("f", revision="0001"), FindingState.WARNING),
        (LedgerStatus("f", revision="9999"), FindingState.FAILED),
        (LedgerStatus("f", revision=HEAD, free=5 * 1024**2), FindingState.WARNING),
        (LedgerStatus("f", revision=HEAD, free=1024**3), FindingState.OK),
    ],
)
def test_schema_and_free_space_are_checked(status: LedgerStatus, state: FindingState) -> None:
    finding = check(status)
    assert finding.state is state
    assert bool(finding.hint) is (state is not FindingState.OK)


async def _open(url: str) -> None:
    async with opened(url):
        pass


def test_a_ledger_that_does_not_exist_or_is_empty_is_not_created(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable) as raised:
        asyncio.run(_open(database_url))
    assert "mlflow-bridge serve" in raised.value.hint
    assert list(tmp_path.iterdir()) == []
