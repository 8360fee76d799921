"""`mlflow-bridge serve`: the process around the application."""

import asyncio
import resource
import sys
from typing import Final

import structlog
import uvicorn

from bridge.core.limits import MAX_HEAD
from bridge.ledger import Ledger, LedgerUnavailable
from bridge.server import logs
from bridge.server.app import create_app
from bridge.server.request_deadline import DeadlineProtocol
from bridge.settings import SettingsInvalid, load
from bridge.workers.waits import WAITS, Waits

_GRACE: Final = 3
"""Seconds that open connections get to finish when the process stops."""

_log = structlog.get_logger(__name__)


def serve(since: float | None = None, waits: Waits = WAITS) -> None:
    """Serve until a signal; `since` and `waits` as in `create_app`.

    Exits with status 2 and one message if settings are missing or wrong, with 1 and one line if the ledger can't
    be opened.
    """
    try:
        settings = load()
    except SettingsInvalid as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    logs.configure(settings.log_format)
    # The application opens the ledger itself, but uvicorn would print an error there as pages of traceback.
    try:
        asyncio.run(_open_ledger(settings.database_url))
    except LedgerUnavailable as error:
        _log.critical("bridge can't start", reason=str(error))
        raise SystemExit(1) from None
    # The usual 1024 open files are too few if strangers hold 1,000 connections.
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    uvicorn.run(
        create_app(settings, since, waits),
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


async def _open_ledger(url: str) -> None:
    ledger = Ledger(url)
    try:
        await ledger.start()
    finally:
        await ledger.close()
