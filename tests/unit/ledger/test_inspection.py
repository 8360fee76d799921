import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bridge.core.findings import FindingState
from bridge.ledger import Ledger
from bridge.ledger import inspection as ledger
from bridge.ledger.database import HEAD
from bridge.ledger.inspection import SeenLedger


async def made(url: str) -> None:
    ledger = Ledger(url)
    await ledger.start()
    await ledger.close()


def test_a_ledger_of_this_release_is_right(database_url: str) -> None:
    asyncio.run(made(database_url))
    seen = ledger.look(database_url)
    assert (seen.revision, seen.problem) == (HEAD, None)
    assert ledger.judge(seen).state is FindingState.OK


def test_looking_makes_nothing(database_url: str, tmp_path: Path) -> None:
    finding = ledger.judge(ledger.look(database_url))
    assert (finding.state, finding.message) == (FindingState.OK, "it will be made at the bridge's first start")
    assert list(tmp_path.iterdir()) == []
    assert ledger.look(database_url).revision is None


def test_a_look_leaves_a_running_bridges_writes_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    asyncio.run(made(url))
    before = (tmp_path / "ledger.db").read_bytes()
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, timeout=0)) as other:
        ledger.look(url)
        other.execute("BEGIN IMMEDIATE")  # fails at once if the database is locked
        other.execute("ROLLBACK")
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_a_database_that_cannot_be_written_is_named(postgres_url: str) -> None:
    asyncio.run(made(postgres_url))
    assert ledger.judge(ledger.look(postgres_url)).state is FindingState.OK
    finding = ledger.judge(ledger.look(f"{postgres_url}?options=-c%20default_transaction_read_only%3Don"))
    assert finding.state is FindingState.FAILED
    assert "read-only transaction" in finding.message
    assert finding.hint.startswith("check that the PostgreSQL server")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    (tmp_path / "ledger.db").write_bytes(b"no database, but text that is long enough" * 100)
    finding = ledger.judge(ledger.look(url))
    assert finding.state is FindingState.FAILED
    assert "file is not a database" in finding.message


def test_a_folder_where_no_file_can_be_made_is_named() -> None:
    finding = ledger.judge(ledger.look("sqlite:////nowhere/at/all/ledger.db"))
    assert (finding.state, finding.message) == (FindingState.FAILED, "its folder is not there")


def test_a_password_is_in_no_finding() -> None:
    finding = ledger.judge(ledger.look("postgresql://user:sentinel@127.0.0.1:1/ledger"))
    assert finding.state is FindingState.FAILED
    assert "sentinel" not in str(finding)


@pytest.mark.parametrize(
    ("seen", "state", "said"),
    [
        (SeenLedger("f", revision="0001"), FindingState.WARNING, f"its schema is 0001, this release's is {HEAD}"),
        (SeenLedger("f", revision="9999"), FindingState.FAILED, "a later release made it"),
        (SeenLedger("f", revision=HEAD, free=5 * 1024**2), FindingState.WARNING, "only 5 MiB are free"),
        (SeenLedger("f", revision=HEAD, free=1024**3), FindingState.OK, "it can be written"),
    ],
)
def test_schema_and_room_are_judged(seen: SeenLedger, state: FindingState, said: str) -> None:
    finding = ledger.judge(seen)
    assert (finding.state, finding.message[: len(said)]) == (state, said)
    assert bool(finding.hint) is (state is not FindingState.OK)
