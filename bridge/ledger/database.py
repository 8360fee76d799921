"""The database behind the ledger: SQLite or PostgreSQL, its connections, its schema, its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from bridge.ledger.errors import LedgerTooNew, LedgerUnavailable
from bridge.ledger.records import LANE
from bridge.ledger.schema import lanes

HEAD: Final = "0004"
"""The newest of the migrations."""

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_MIGRATION_LOCK: Final = 0x6D6C_666C_6F77
"""The number of PostgreSQL's advisory lock that one migration at a time holds."""

_BUSY: Final = 5_000
"""Milliseconds that a statement waits for the lock of another process."""

_PRAGMAS: Final = (
    f"busy_timeout={_BUSY}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",  # also the journal of a statement with many rows, for which a file would be created each time
)
"""How SQLite is used; source: its "Pragma statements"."""

_FROZEN: Final = 3_000
"""Milliseconds after which PostgreSQL ends a transaction that its owner, frozen perhaps, leaves idle.

Less than `_BUSY`, so that nobody fails because of another's frozen transaction.
"""

_MIGRATION_WAIT: Final = 60_000
"""Milliseconds that a start waits for another replica's migration."""

_RECYCLE: Final = 3_600
"""Seconds after which a connection to PostgreSQL is renewed, and with it the common time."""


class Database:
    """The engine of one DATABASE_URL; `hint` is what to check if it can't be used."""

    def __init__(self, url: str) -> None:
        self._engine, self.hint = _engine(url)
        self._since: tuple[float, float] | None = None
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        else:
            sa.event.listen(self._engine, "connect", self._prepare_postgres)

    def time(self) -> float:
        """Return the time on which all that share this database agree: its server's clock, or this machine's."""
        if self._since is None:
            return time.time()
        server_time, read_at = self._since
        return server_time + time.monotonic() - read_at

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; its writes are on the disk once `with` is left."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that sees all earlier commits, and waits for no writer."""
        with self._engine.connect().execution_options(bridge_reads=True) as connection, connection.begin():
            yield connection

    def migrate(self) -> None:
        """Bring the schema up to date, one process at a time; raises `LedgerTooNew` if a later release made it."""
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_MIGRATION_WAIT}")
                connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")  # imports take seconds
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            if revision(connection) != HEAD:
                _upgrade(connection)
            connection.execute(insert(connection.dialect, lanes).on_conflict_do_nothing(), _FIRST_LANE)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _prepare_postgres(self, connection: Any, _record: object) -> None:
        started = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {_BUSY}")
            cursor.execute(f"SET idle_in_transaction_session_timeout = {_FROZEN}")
            (server_time,) = cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        connection.commit()
        self._since = (server_time, (started + time.monotonic()) / 2)


_FIRST_LANE: Final = {"name": LANE, "next_at": 0.0, "pauses": 0}


def insert(dialect: sa.Dialect, table: sa.Table) -> Any:
    """Return the dialect's own INSERT, which has `ON CONFLICT`; both dialects spell it alike."""
    return import_module(f"sqlalchemy.dialects.{dialect.name}").insert(table)


def _engine(text: str) -> tuple[sa.Engine, str]:
    try:
        url = sa.make_url(text)
        if url.drivername == "sqlite":
            # A connection drops its cached pages when another one writes: so the writer mostly gets its last one.
            return sa.create_engine(url, pool_use_lifo=True), (
                "check the folder, the disk and the permissions of the file that DATABASE_URL names"
            )
        if url.drivername in ("postgres", "postgresql"):
            engine = sa.create_engine(
                url.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,  # after a restart of PostgreSQL nobody gets a dead connection
                pool_recycle=_RECYCLE,
                connect_args={
                    "connect_timeout": 5,
                    "tcp_user_timeout": 2 * _BUSY,
                    "application_name": "mlflow-bridge",
                    "client_encoding": "utf8",  # otherwise a database of encoding SQL_ASCII returns bytes for text
                },
            )
            return (
                engine,
                "check that the PostgreSQL server in DATABASE_URL is running, has space and accepts these credentials",
            )
    except (sa.exc.ArgumentError, ValueError):
        pass  # its words may hold the password
    raise LedgerUnavailable(
        "DATABASE_URL can't be parsed",
        "set it to an address such as sqlite:////folder/file.db or postgresql://user:password@host:port/database",
    )


def revision(connection: sa.Connection) -> str | None:
    """Return the newest migration that was made; read without Alembic, which costs 10 MB to import."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LedgerTooNew(
            "the ledger was updated by a later release", "use that release, or set DATABASE_URL to another database"
        ) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Take the write lock at once: a transaction that reads first and writes then could fail half-way."""
    reads = connection.get_execution_options().get("bridge_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
