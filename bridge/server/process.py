"""`mlflow-bridge serve`: the process around the application."""

import asyncio
import resource
import sys
from multiprocessing import get_context
from typing import Final

import structlog
import uvicorn

from bridge.ledger import Ledger, LedgerUnavailable
from bridge.server import logs
from bridge.server.app import create_app
from bridge.server.deadline import MAX_HEAD, DeadlineProtocol
from bridge.server.webhook import WebhookFirst
from bridge.settings import Settings, SettingsInvalid, load
from bridge.workers.waits import WAITS, Waits

_GRACE: Final = 3
"""Seconds that open connections have to end in when the process is told to stop."""

_log = structlog.get_logger(__name__)


def serve(since: float | None = None, waits: Waits = WAITS) -> None:
    """Serve until a signal; `since` and `waits` as in `create_app`.

    Ends with status 2 and one message where settings are missing or wrong, with 1 and one line where the ledger can't
    be opened.
    """
    settings = _settings()
    logs.configure(settings.log_format)
    _try_ledger(settings.database_url)
    _take_many_connections()
    uvicorn.run(
        WebhookFirst(create_app(settings, since, waits)),
        http=DeadlineProtocol,
        ws="none",  # an upgraded connection would have no deadline
        h11_max_incomplete_event_size=MAX_HEAD,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )


def _settings() -> Settings:
    try:
        return load()
    except SettingsInvalid as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def _take_many_connections() -> None:
    """Open as many files as the system lets us: the usual 1024 are too few where strangers hold 1,000 connections."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _try_ledger(url: str) -> None:
    """Open the ledger once beforehand: what fails in the application's own start is told in pages of traceback.

    In a child, and with it goes what only migrations need: 10 MB.
    """
    child = get_context("fork").Process(target=_open_ledger, args=(url,))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(1)


def _open_ledger(url: str) -> None:
    async def start() -> None:
        ledger = Ledger(url)
        try:
            await ledger.start()
        finally:
            await ledger.close()

    try:
        asyncio.run(start())
    except LedgerUnavailable as error:
        _log.critical("bridge can't start", reason=str(error))
        raise SystemExit(1) from None
