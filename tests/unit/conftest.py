"""Unit tests reach no network: a test that opens a connection fails. Ledgers are real, on both kinds of database."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket

from bridge.ledger import Ledger
from bridge.settings import Settings
from tests.postgres import Postgres


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    _disable()
    yield
    enable_socket()


def _disable() -> None:
    disable_socket(allow_unix_socket=True)  # an event loop wakes itself by one


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing that happens to be set on this machine, or that another test's MLflow client has set, counts."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> str:
    """An empty database in the tests' PostgreSQL."""
    enable_socket()  # the first of these tests starts the server, and looks for a free port
    postgres: Postgres = request.getfixturevalue("postgres")
    _disable()
    return postgres.database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database; every test that takes it runs on each kind that the ledger knows."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / '100% ledger.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(database_url)
    await ledger.start()
    yield ledger
    await ledger.close()
