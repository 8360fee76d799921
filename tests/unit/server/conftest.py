"""The application in this process, without a network: its ledger, and a GitHub that answers 503."""

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import respx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from pydantic import SecretStr

from bridge.mlflow.signature import sign
from bridge.server.app import create_app
from bridge.server.state import AppState
from bridge.settings import Settings
from bridge.workers.loop import Loop

SECRET, PREVIOUS, TOKEN = "sentinel-secret", "sentinel-previous", "ghp_sentinel"


class Bridge:
    """A bridge in this process, called as MLflow calls it."""

    def __init__(self, portal: BlockingPortal, client: httpx2.AsyncClient, database: Path, app: FastAPI) -> None:
        self.database = database
        self.app = app
        self.portal = portal
        self.client = client

    def get(self, path: str, **sent: Any) -> httpx2.Response:
        """GET the path; `sent` are arguments of httpx2, such as headers."""
        return self.portal.call(lambda: self.client.get(path, **sent))

    @property
    def state(self) -> AppState:
        """The parts of the bridge."""
        state: AppState = self.app.state.bridge
        return state

    def stop(self, loop: Loop) -> None:
        """Stop the loop, and wait until it has ended."""
        self.portal.call(loop.stop)
        while loop.running:
            time.sleep(0.01)

    def send(
        self,
        content: bytes | AsyncIterator[bytes],
        headers: Sequence[tuple[bytes, bytes]] | Mapping[str, str] | None = None,
        path: str = "/webhook",
    ) -> httpx2.Response:
        """POST exactly that."""

        async def post() -> httpx2.Response:
            return await self.client.post(path, content=content, headers=headers)

        return self.portal.call(post)

    def post(self, body: bytes, **headers: str | None) -> httpx2.Response:
        """POST a signed body; `headers` replace those of a valid delivery, None leaves one out."""
        delivery_id = headers.get("delivery_id") or str(uuid4())
        timestamp = headers.get("timestamp") or str(int(time.time()))
        moment = int(timestamp) if timestamp.isdecimal() else 0
        sent = {
            "delivery_id": delivery_id,
            "timestamp": timestamp,
            "signature": sign(SECRET, delivery_id, moment, body),
        } | headers
        names = {f"X-MLflow-{name.replace('_', '-')}": value for name, value in sent.items() if value is not None}
        return self.send(body, names)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()


def settings(database: Path) -> Settings:
    return Settings(
        mlflow_webhook_secret=SecretStr(SECRET),
        mlflow_webhook_secret_previous=SecretStr(PREVIOUS),
        github_repository="owner/models",
        github_token=SecretStr(TOKEN),
        database_url=f"sqlite:///{database}",
    )


@pytest.fixture
def github() -> Iterator[respx.Route]:
    """GitHub's answer to every dispatch: 503 unless a test says otherwise."""
    with respx.mock(using="httpcore2", assert_all_called=False) as mock:
        yield mock.post("https://api.github.com/repos/owner/models/dispatches").respond(503)


@contextmanager
def opened(portal: BlockingPortal, chosen: Settings, database: Path) -> Iterator[Bridge]:
    """Start a bridge with these settings."""
    app = create_app(chosen)
    with (
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        portal.wrap_async_context_manager(
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://bridge")
        ) as client,
    ):
        yield Bridge(portal, client, database, app)


@pytest.fixture
def bridge(tmp_path: Path, github: respx.Route) -> Iterator[Bridge]:
    database = tmp_path / "ledger.db"
    with start_blocking_portal() as portal, opened(portal, settings(database), database) as bridge:
        yield bridge
