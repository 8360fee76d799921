"""The application: wires the parts together, decides nothing."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog
from fastapi import FastAPI

from bridge import __version__, clients
from bridge.github.client import GithubApi
from bridge.ledger import Ledger
from bridge.mlflow.client import MlflowApi
from bridge.server import api, health, metrics, pages, webhook
from bridge.server.metrics import Metrics
from bridge.server.probe import Probe
from bridge.server.request_head import RequestHeadCheck
from bridge.server.state import AppState
from bridge.settings import Settings, find_weaknesses
from bridge.workers.dispatcher import Dispatcher
from bridge.workers.follower import Follower
from bridge.workers.loop import Loop
from bridge.workers.reconciler import Reconciler
from bridge.workers.waits import WAITS, Waits

_DRAIN: Final = 5.0
"""Seconds that the loops get to finish their steps when the process stops."""

_CANCEL: Final = 1.0
"""Seconds that cancelled loops then get to release what they hold."""

_log = structlog.get_logger(__name__)


def create_app(settings: Settings, since: float | None = None, waits: Waits = WAITS) -> FastAPI:
    """Return the application. Nothing is opened, read or started before its lifespan begins.

    `since` (Unix seconds): on its very first run, the reconciler also imports model versions created since then.
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
    app.add_middleware(RequestHeadCheck)
    # Before FastAPI's own route, which then only describes it: that one takes a tenth of a delivery's time.
    app.router.add_route("/webhook", webhook.webhook, methods=["POST"])
    for module in (webhook, health, metrics, pages, api):
        app.include_router(module.router)
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
        _log_start(settings)
        # What exists by now lives as long as the process: each time that Python searched it for garbage, all requests
        # waited for 60 ms. Together with the route above, this keeps a fifth of the deliveries per second.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000)
        async with _looping(state.loops):
            yield state


def _state(
    settings: Settings, ledger: Ledger, github: GithubApi, mlflow: MlflowApi | None, since: float | None, waits: Waits
) -> AppState:
    app_metrics = Metrics(settings.routes)
    dispatcher = Dispatcher(
        ledger,
        github,
        interval=settings.github_dispatch_interval,
        settle=settings.dispatch_settle,
        clock=ledger.time,
        dispatched=app_metrics.dispatched,
    )
    follower = Follower(
        ledger, github, mlflow, interval=settings.github_poll_interval, ended=app_metrics.run_ended, waits=waits
    )

    def imported() -> None:
        app_metrics.delivery("reconciled")
        dispatcher.wake()

    reconciler = None
    if mlflow and settings.reconciles:
        reconciler = Reconciler(
            ledger,
            mlflow,
            settings.routes,
            interval=settings.reconcile_interval,
            since=since,
            imported=imported,
            waits=waits,
        )
    return AppState(settings, ledger, github, app_metrics, dispatcher, follower, reconciler, Probe(ledger))


def _log_start(settings: Settings) -> None:
    _log.info("bridge started", repositories=settings.repositories, github=settings.github_api_url)
    for weakness in find_weaknesses(settings):
        _log.warning("weak setting", setting=weakness.setting, reason=weakness.message, fix=weakness.hint)
    if not settings.reconciles:
        _log.warning("reconciler disabled: set MLFLOW_TRACKING_URI to recover missed events")
    elif not settings.webhook_secrets:
        _log.warning("MLFLOW_WEBHOOK_SECRET is not set: webhooks are refused, and the reconciler imports all events")


@asynccontextmanager
async def _looping(loops: Sequence[Loop]) -> AsyncIterator[None]:
    """Run the loops in the background; at the end each may finish its step within `_DRAIN`."""
    tasks = [asyncio.create_task(loop.run(), name=loop.name) for loop in loops]
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        _, unfinished = await asyncio.wait(tasks, timeout=_DRAIN)
        for task in unfinished:
            _log.warning(
                "loop did not stop in time; its unfinished step resumes at the next start", loop=task.get_name()
            )
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=_CANCEL)
