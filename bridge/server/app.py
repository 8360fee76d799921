"""The application: wires the parts together, decides nothing."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import structlog
from fastapi import FastAPI

from bridge import __version__, clients
from bridge.github.client import GithubApi
from bridge.ledger import Ledger
from bridge.mlflow.client import MlflowApi
from bridge.server import api, health, metrics, pages, webhook
from bridge.server.figures import Metrics
from bridge.server.probe import Probe
from bridge.server.state import AppState
from bridge.settings import Settings, find_weaknesses
from bridge.workers.dispatcher import Dispatcher
from bridge.workers.follower import Follower
from bridge.workers.loop import Loop
from bridge.workers.reconciler import Reconciler
from bridge.workers.waits import WAITS, Waits

_DRAIN: Final = 5.0
"""Seconds that the loops have to end their steps in when the process is told to stop."""

_CUT_OFF: Final = 1.0
"""Seconds that they then have to let go of what they hold."""

_NEW_OBJECTS: Final = 10_000
"""How many come between two looks for garbage. Twenty deliveries at a time hold thousands that are none: with Python's
usual number, some hundred, it would look among these again and again.
"""

_log = structlog.get_logger(__name__)


def create_app(settings: Settings, since: float | None = None, waits: Waits = WAITS) -> FastAPI:
    """Give the application. Nothing is opened, read or started before its lifespan begins.

    `since` (Unix seconds): the reconciler's first look of all takes in the versions made from then on.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings, since, waits) as state:
            app.state.bridge = state
            yield

    app = FastAPI(
        title="MLflow actions bridge",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(webhook.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(pages.router)
    app.include_router(api.router)
    return app


@asynccontextmanager
async def _running(settings: Settings, since: float | None, waits: Waits) -> AsyncIterator[AppState]:
    async with AsyncExitStack() as stack:
        ledger = Ledger(settings.database_url)
        stack.push_async_callback(ledger.close)
        await ledger.start()
        github = await stack.enter_async_context(clients.github(settings))
        mlflow = clients.mlflow(settings)
        if mlflow:
            stack.enter_context(mlflow)
        state = _state(settings, ledger, github, mlflow, since, waits)
        _tell_start(settings)
        gc.collect()
        gc.freeze()  # else each look at all that lives as long as the process answers nobody for 50 ms
        gc.set_threshold(_NEW_OBJECTS)
        async with _looping(state.loops):
            yield state


def _state(
    settings: Settings,
    ledger: Ledger,
    github: GithubApi,
    mlflow: MlflowApi | None,
    since: float | None,
    waits: Waits,
) -> AppState:
    seen = Metrics(settings.routes)
    dispatcher = Dispatcher(
        ledger,
        github,
        interval=settings.github_dispatch_interval,
        settle=settings.dispatch_settle,
        clock=ledger.time,
        dispatched=seen.dispatched,
    )
    interval = settings.github_poll_interval
    follower = Follower(ledger, github, mlflow, interval=interval, ended=seen.run_ended, waits=waits)
    reconciler = None
    if mlflow and settings.reconciles:
        reconciler = Reconciler(
            ledger,
            mlflow,
            settings.routes,
            interval=settings.reconcile_interval,
            since=since,
            imported=partial(_found, seen, dispatcher),
            waits=waits,
        )
    return AppState(settings, ledger, github, seen, dispatcher, follower, reconciler, Probe(ledger))


def _found(seen: Metrics, dispatcher: Dispatcher) -> None:
    seen.delivery("reconciled")
    dispatcher.wake()


def _tell_start(settings: Settings) -> None:
    _log.info("bridge started", repositories=settings.repositories, github=settings.github_api_url)
    for each in find_weaknesses(settings):
        _log.warning("weak setting", setting=each.setting, reason=each.problem, fix=each.fix)
    if not settings.reconciles:
        _log.warning("no reconciler: what no delivery told stays unknown without MLFLOW_TRACKING_URI")
    elif not settings.webhook_secrets:
        _log.warning("no MLFLOW_WEBHOOK_SECRET: deliveries are refused, and the reconciler finds everything by itself")


@asynccontextmanager
async def _looping(loops: Sequence[Loop]) -> AsyncIterator[None]:
    """Let the loops run meanwhile; at the end each may finish what it is doing, if that doesn't take long."""
    tasks = [asyncio.create_task(loop.run(), name=loop.name) for loop in loops]
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        _, slow = await asyncio.wait(tasks, timeout=_DRAIN)
        for task in slow:
            _log.warning("stopped in the middle of a step: it is taken up after the next start", loop=task.get_name())
            task.cancel()
        if slow:
            await asyncio.wait(slow, timeout=_CUT_OFF)
