"""The database behind the ledger: how it comes up, what it promises, and how it fails."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from bridge.core.dispatches import Pause
from bridge.core.events import EventKind
from bridge.ledger import (
    LANE,
    Accepted,
    DispatchState,
    Ledger,
    LedgerTooNew,
    LedgerUnavailable,
    RunObservation,
    Unstorable,
    lanes,
    queries,
    runs,
)
from bridge.ledger.database import _MIGRATION_LOCK, _MIGRATIONS, HEAD
from tests.postgres import Postgres
from tests.unit.ledger.rows import ME, NOW, YOU, begin, delivery, dispatch, lane, rows, send
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[Ledger]:
    """A ledger that hasn't been started."""
    ledger = Ledger(database_url)
    yield ledger
    await ledger.close()


def config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def test_the_newest_migration_is_the_one_that_a_start_expects() -> None:
    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


async def test_a_ledger_of_the_first_release_keeps_what_it_has(opened: Ledger) -> None:
    first = config()
    with opened._database.writing() as connection:
        first.attributes["connection"] = connection
        command.upgrade(first, "0001")
        connection.exec_driver_sql("insert into lanes (name, next_at, pauses) values ('github', 7.0, 0)")
        connection.exec_driver_sql(
            "insert into deliveries (id, kind, model, version, received_at) "
            "values ('d', 'model_version.created', 'm', '1', 1)"
        )
        connection.exec_driver_sql(
            "insert into dispatches (id, delivery_id, lane, route, repository, event_type, payload, state, attempts, "
            "next_at, created_at) values ('1', 'd', 'github', 'r', 'o/r', 't', '{}', 'pending', 3, 1, 1)"
        )
    await opened.start()
    found = await opened.read(lanes.next_pending, now=NOW)
    assert found is not None
    assert (found.id, found.attempts, found.way, found.workflow) == ("1", 3, "repository_dispatch", None)
    assert lane(opened).next_at == 7.0
    told = await opened.read(queries.find_delivery, "d")
    assert told is not None
    assert [one.id for one in told.dispatches] == ["1"]


async def test_a_second_start_changes_nothing(ledger: Ledger, other: Ledger) -> None:
    await ledger.accept(delivery(), [dispatch()])
    await ledger.write(lanes.settle, await begin(ledger), Pause(NOW + 60, "429"), ME, now=NOW, lane_next_at=NOW)
    await other.start()
    assert lane(other).paused_because == "429"
    assert rows(other, "select name from lanes") == [(LANE,)]


async def test_many_that_start_at_once_make_one_schema(database_url: str) -> None:
    code = "import sys; from bridge.ledger.database import Database; Database(sys.argv[1]).migrate()"
    starting = [subprocess.Popen([sys.executable, "-c", code, database_url], stderr=subprocess.PIPE) for _ in range(4)]
    said = [process.communicate(timeout=PATIENCE)[1] for process in starting]
    assert [process.returncode for process in starting] == [0] * 4, said
    ledger = Ledger(database_url)
    assert rows(ledger, "select version_num from alembic_version") == [(HEAD,)]
    assert rows(ledger, "select name from lanes") == [(LANE,)]
    await ledger.close()


async def test_alembic_is_imported_only_where_there_is_something_to_migrate(ledger: Ledger, database_url: str) -> None:
    code = (
        "import asyncio, sys; from bridge.ledger import Ledger; ledger = Ledger(sys.argv[1]); "
        "asyncio.run(ledger.start()); print([name for name in ('alembic', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, database_url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("['psycopg']" if database_url.startswith("postgres") else "[]")


async def test_a_ledger_of_a_later_release_is_not_touched(ledger: Ledger, opened: Ledger) -> None:
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(LedgerTooNew, match="later release"):
        await opened.start()


@pytest.mark.parametrize(
    "url",
    [
        "postgres//me:sentinel@host/db",
        "postgresql://me:sentinel@host:port/db",
        "mysql://me:sentinel@host/db",
        "sentinel",
        "",
    ],
)
def test_an_address_that_cannot_be_read_is_named_without_its_password(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match="DATABASE_URL") as failed:
        Ledger(url)
    assert "sentinel" not in str(failed.value)


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "ledger.db"

    @pytest.fixture
    async def sqlite(self, path: Path) -> AsyncIterator[Ledger]:
        ledger = Ledger(f"sqlite:///{path}")
        await ledger.start()
        yield ledger
        await ledger.close()

    async def test_every_commit_reaches_the_disk_references_hold_and_nothing_goes_to_other_files(
        self, sqlite: Ledger
    ) -> None:
        for transaction in (sqlite._database.writing, sqlite._database.reading):
            with transaction() as connection:
                pragmas = {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("journal_mode", "synchronous", "foreign_keys", "temp_store")
                }
            assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "temp_store": 2}

    async def test_the_writer_keeps_its_connection_and_what_that_has_read(self, sqlite: Ledger) -> None:
        with sqlite._database.reading(), sqlite._database.writing():
            pass  # two at a time, so that the pool holds two
        used = set()
        for _ in range(4):
            with sqlite._database.writing() as connection:
                used.add(connection.connection.dbapi_connection)
        assert len(used) == 1

    async def test_a_read_waits_for_no_writer(self, sqlite: Ledger) -> None:
        await sqlite.accept(delivery(), [dispatch()])
        with sqlite._database.writing():
            assert await sqlite.read(lanes.next_pending, now=NOW)
            assert (await sqlite.read(queries.figures, now=NOW)).oldest_pending == 0

    async def test_no_query_reads_a_whole_table(self, sqlite: Ledger) -> None:
        """As SQLite plans it for a ledger that is full of what succeeded long ago."""
        for number in range(300):
            await sqlite.accept(delivery(number), [dispatch(number)])
        with sqlite._database.writing() as connection:
            connection.exec_driver_sql("update dispatches set state = 'succeeded', sent_at = 1, ended_at = 1")
            connection.exec_driver_sql("analyze")
            connection.exec_driver_sql("update sqlite_stat1 set stat = replace(stat, '300', '1000000')")
        sqlite._database.close()  # a new connection reads that
        asked: list[tuple[str, object]] = []

        def ask(_c: object, _cursor: object, statement: str, values: object, *_: object) -> None:
            asked.append((statement, values))

        sa.event.listen(sqlite._database._engine, "before_cursor_execute", ask)
        await send(sqlite, 500)
        await send(sqlite, 501)
        await sqlite.write(runs.settle_run, "dispatch-500", RunObservation(DispatchState.CANCELLED, 7, None, None, NOW))
        await sqlite.read(runs.open_dispatches, now=NOW)
        await sqlite.read(queries.figures, now=NOW)
        event = delivery(7).event
        assert await sqlite.read(queries.find_version, event.model, event.version)
        await sqlite.read(queries.last_delivery, EventKind.VERSION_CREATED, event.model, version=event.version)
        sa.event.remove(sqlite._database._engine, "before_cursor_execute", ask)
        with sqlite._database.reading() as connection:
            plans = [
                row[3]
                for statement, values in asked
                if statement.startswith(("SELECT", "UPDATE"))
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
                if "dispatches" in row[3] or "deliveries" in row[3]
            ]
        assert len(plans) > 8
        assert [plan for plan in plans if " USING " not in plan] == []
        assert [plan for plan in plans if plan.startswith("SCAN") and "COVERING INDEX" not in plan] == []
        by_version = [plan for plan in plans if "ix_deliveries_version" in plan]
        assert len(by_version) == 2
        assert all("(model=? AND <expr>=? AND version>? AND version<?)" in plan for plan in by_version), by_version

    async def test_a_folder_that_is_not_there_is_named_by_its_setting(self, tmp_path: Path) -> None:
        ledger = Ledger(f"sqlite:///{tmp_path}/nowhere/ledger.db")
        with pytest.raises(LedgerUnavailable, match="DATABASE_URL"):
            await ledger.start()
        await ledger.close()

    async def test_a_file_that_is_no_database_is_an_error_of_ours(self, path: Path) -> None:
        path.write_text("this is no database, and long enough to look like one" * 100)
        ledger = Ledger(f"sqlite:///{path}")
        with pytest.raises(LedgerUnavailable, match="not a database"):
            await ledger.start()
        await ledger.close()

    async def test_a_database_that_another_process_locks_is_unavailable_and_works_again_after(
        self, sqlite: Ledger, path: Path
    ) -> None:
        with sqlite._database._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=1")
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]  # it is open
        with other_transaction(path):
            with pytest.raises(LedgerUnavailable, match="locked"):
                await sqlite.accept(delivery(), [dispatch()])
            with pytest.raises(LedgerUnavailable, match="locked"):
                await sqlite.write(lanes.release, LANE, ME)
        assert await sqlite.accept(delivery(), [dispatch()]) == Accepted()


@contextmanager
def other_transaction(path: Path) -> Iterator[None]:
    engine = sa.create_engine(f"sqlite:///{path}")
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()
    engine.dispose()


async def test_closing_waits_for_what_is_under_way_and_leaves_no_connection(opened: Ledger) -> None:
    seen: list[str] = []
    for change in ("connect", "close"):
        sa.event.listen(opened._database._engine, change, lambda *_, change=change: seen.append(change))
    began, may_end = threading.Event(), threading.Event()

    def slowly(_connection: sa.Connection) -> str:
        began.set()
        may_end.wait(60)
        return "done"

    writing = asyncio.create_task(opened.write(slowly))
    await asyncio.to_thread(began.wait, 60)
    closing = asyncio.create_task(opened.close())
    await asyncio.wait([closing], timeout=0.2)
    may_end.set()
    await closing
    assert await writing == "done"
    assert seen == ["connect", "close"]


class TestPostgres:
    @pytest.fixture(params=["postgresql://", "postgres://"])
    def url(self, request: pytest.FixtureRequest) -> str:
        return str(request.getfixturevalue("postgres_url")).replace("postgresql://", request.param)

    @pytest.fixture
    async def ledger(self, postgres_url: str) -> AsyncIterator[Ledger]:
        ledger = Ledger(postgres_url)
        await ledger.start()
        yield ledger
        await ledger.close()

    async def test_both_spellings_of_its_address_are_taken(self, url: str) -> None:
        ledger = Ledger(url)
        await ledger.start()
        assert await ledger.accept(delivery(), [dispatch()]) == Accepted()
        await ledger.close()

    async def test_a_database_that_knows_no_encoding_keeps_text(self, postgres_url: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            name = f"ascii_{uuid4().hex}"
            connection.execute(f"create database {name} encoding 'SQL_ASCII' locale 'C' template template0")
        ledger = Ledger(postgres_url.rpartition("/")[0] + f"/{name}")
        await ledger.start()
        told = replace(delivery(), event=replace(delivery().event, model="模型"))
        assert await ledger.accept(told, [dispatch()]) == Accepted()
        story = await ledger.read(queries.find_delivery, told.id)
        assert story is not None
        assert story.delivery == told
        await ledger.close()

    async def test_a_start_waits_for_another_replicas_migration(self, postgres_url: str) -> None:
        ledger = Ledger(postgres_url)
        with psycopg.connect(postgres_url, autocommit=True) as migrating:
            migrating.execute(f"select pg_advisory_lock({_MIGRATION_LOCK})")
            starting = asyncio.create_task(ledger.start())
            await asyncio.sleep(0.5)
            assert not starting.done()
            assert migrating.execute("select to_regclass('lanes')").fetchone() == (None,)
        await starting
        assert await ledger.accept(delivery(), [dispatch()]) == Accepted()
        await ledger.close()

    async def test_a_restart_of_the_server_is_not_noticed_after(self, ledger: Ledger, postgres: Postgres) -> None:
        assert await ledger.accept(delivery(1), [dispatch(1)]) == Accepted()
        assert await ledger.read(lanes.next_pending, now=NOW)
        postgres.restart()
        assert await ledger.read(lanes.next_pending, now=NOW)
        assert await ledger.accept(delivery(2), [dispatch(2)]) == Accepted()

    async def test_a_server_that_is_gone_is_unavailable_until_it_is_back(
        self, ledger: Ledger, postgres: Postgres, postgres_url: str
    ) -> None:
        postgres.kill()
        try:
            for work in (
                ledger.accept(delivery(), [dispatch()]),
                ledger.write(lanes.release, LANE, ME),
                ledger.read(lanes.next_pending, now=NOW),
            ):
                with pytest.raises(LedgerUnavailable) as failed:
                    await work
                assert "PostgreSQL server" in failed.value.hint
                assert str(sa.make_url(postgres_url).password) not in str(failed.value)
        finally:
            postgres.start()
        assert await ledger.accept(delivery(), [dispatch()]) == Accepted()

    async def test_what_was_accepted_is_there_after_a_crash_of_the_server(
        self, ledger: Ledger, postgres: Postgres
    ) -> None:
        await ledger.accept(delivery(), [dispatch()])
        postgres.kill()
        postgres.start()
        assert await ledger.read(lanes.next_pending, now=NOW)

    async def test_a_frozen_replica_holds_nobody_up_for_long(self, ledger: Ledger, postgres_url: str) -> None:
        """It is frozen in the middle of a transaction that holds the lane and has written the same delivery."""
        with psycopg.connect(postgres_url) as frozen:
            frozen.execute("set idle_in_transaction_session_timeout = 3000")  # as every connection of ours
            frozen.execute("select * from lanes for update")
            frozen.execute("insert into deliveries values ('delivery-1', 'k', 'm', '1', null, null, null, null, 1)")
            taken, accepted = await asyncio.gather(
                ledger.write(lanes.acquire, LANE, YOU, now=NOW, seconds=5), ledger.accept(delivery(1), [dispatch(1)])
            )
            assert taken
            assert accepted == Accepted()
            with pytest.raises(psycopg.Error, match="idle-in-transaction"):
                frozen.commit()

    async def test_no_connection_may_stay_idle_in_a_transaction(self, ledger: Ledger) -> None:
        for transaction in (ledger._database.writing, ledger._database.reading):
            with transaction() as connection:
                assert connection.exec_driver_sql("show idle_in_transaction_session_timeout").scalar() == "3s"
                assert connection.exec_driver_sql("show lock_timeout").scalar() == "5s"

    async def test_a_server_that_only_reads_is_unavailable(self, ledger: Ledger, postgres_url: str) -> None:
        name = postgres_url.rpartition("/")[2]
        with ledger._database.writing() as connection:
            connection.exec_driver_sql(f"alter database {name} set default_transaction_read_only = on")
        ledger._database.close()
        with pytest.raises(LedgerUnavailable, match="read-only"):
            await ledger.accept(delivery(), [dispatch()])
        with pytest.raises(LedgerUnavailable, match="read-only"):
            await ledger.write(lanes.release, LANE, ME)

    async def test_text_that_it_cannot_keep_fails_alone(self, ledger: Ledger) -> None:
        bad = dispatch(1).__class__("dispatch-1", "a\0b", "o/r", "type", "{}")
        outcomes = await asyncio.gather(
            ledger.accept(delivery(1), [bad]), ledger.accept(delivery(2), [dispatch(2)]), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [Unstorable, Accepted]

    async def test_the_time_is_the_servers(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        assert ledger.time() == pytest.approx(time.time(), abs=1)
        monkeypatch.setattr("time.time", lambda: NOW)
        assert ledger.time() > NOW + 1_000
