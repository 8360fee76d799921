"""Looks at everything that the settings name, and has it judged. All requests are here; none starts or changes a thing.

The one that reaches further than a look is MLflow's own test delivery, which the bridge answers and never dispatches.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

import httpx

from bridge import clients
from bridge.core import http_answers
from bridge.core.findings import Finding, failed, ok, told, unknown, warning
from bridge.core.http_answers import AnswerUnreadable
from bridge.core.routing import DispatchMethod, Route
from bridge.core.text import read_json
from bridge.doctor import clock, repository
from bridge.doctor.repository import SeenRepository
from bridge.github.client import GithubApi
from bridge.github.repository import GithubRepository
from bridge.github.responses import Answer, Outcome
from bridge.github.workflow_file import FOLDER
from bridge.ledger import inspection
from bridge.mlflow import webhooks
from bridge.mlflow.client import MlflowApi, MlflowError, Webhook
from bridge.mlflow.threads import run_in_daemon_thread
from bridge.settings import Settings, SettingsInvalid, find_weaknesses, load

_FILES: Final = 50
"""Workflows of one branch that are read."""


async def examine(url: str | None = None) -> tuple[Settings | None, list[Finding]]:
    """Look at all of it, and give the settings with the findings in the order of a delivery's way.

    `url` is the webhook's address, where others of MLflow's webhooks lead to other bridges.
    """
    try:
        settings = load()
    except SettingsInvalid as error:
        return None, [failed("settings", "", problem.message, problem.hint) for problem in error.problems]
    findings = [ok("settings", "", "they are complete, and each is of its form")]
    findings += [warning("settings", each.setting, each.message, each.hint) for each in find_weaknesses(settings)]
    findings.append(inspection.check(await asyncio.to_thread(inspection.inspect, settings.database_url)))
    findings.append(await _bridge(settings))
    findings += await _github(settings)
    findings += await _mlflow(settings, url)
    return settings, findings


async def _bridge(settings: Settings) -> Finding:
    """Ask the bridge on this machine, if there is one, how it feels."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104  compared, not bound
    about = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            answer = await http_answers.ask(client, client.build_request("GET", f"{about}/ready"))
        degraded = read_json(answer.content)["degraded"]
    except (httpx.HTTPError, httpx.InvalidURL, AnswerUnreadable, ValueError, KeyError, TypeError):
        return unknown("bridge", about, "no bridge answers on this machine", "start `mlflow-bridge serve`, if it is to")
    if degraded:
        return warning(
            "bridge",
            about,
            f"it is running, but reports: {', '.join(map(str, degraded))}",
            "sign in to its status page or to /ready as admin: each reason is there with its fix",
        )
    return ok("bridge", about, "it is running, and reports no problems")


async def _github(settings: Settings) -> list[Finding]:
    is_app = settings.github_token is None
    findings: list[Finding] = []
    async with clients.github(settings) as github:
        for name in settings.repositories:
            routes = tuple(route for route in settings.routes if route.repository == name)
            asked = time.time()
            about = await GithubRepository(github, name).about()
            if not findings:
                date = about.headers.get("date") if isinstance(about, Answer) else None
                findings.append(clock.github(clock.ahead(date, asked, time.time()), settings.github_api_url))
                findings.append(repository.token(about, github.token_expires_at, time.time(), is_app=is_app))
            if isinstance(about, Answer) and about.status == 401:
                break  # the same for all of them
            seen = await _look(github, name, about, routes)
            findings += repository.judge(seen, routes, is_app=is_app)
    return findings


async def _look(github: GithubApi, name: str, about: Outcome, routes: tuple[Route, ...]) -> SeenRepository:
    content = about.json if isinstance(about, Answer) and about.status == 200 else None
    if not isinstance(content, dict):
        return SeenRepository(name, about)
    there = GithubRepository(github, name)
    branch = str(content.get("default_branch", "main"))
    branches = {(route.ref if route.dispatch is DispatchMethod.WORKFLOW else None) or branch for route in routes}
    folders = {each: await there.workflow_files(each) for each in sorted(branches)}
    files = {each: await _files(there, folder, each) for each, folder in folders.items()}
    ways = {(route.dispatch, route.workflow or "") for route in routes}
    rights = {
        (how, file): await (
            there.try_workflow_dispatch(file) if how is DispatchMethod.WORKFLOW else there.try_dispatch()
        )
        for how, file in sorted(ways)
    }
    workflows, runs, actions = await there.workflows(), await there.runs(), await there.actions()
    return SeenRepository(name, about, branch, folders, files, rights, runs, workflows, actions)


async def _files(there: GithubRepository, folder: Outcome, branch: str) -> Mapping[str, str]:
    listed = folder.json if isinstance(folder, Answer) and folder.status == 200 else None
    names = [str(each.get("name")) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    files: dict[str, str] = {}
    for name in [each for each in names if each.endswith((".yml", ".yaml"))][:_FILES]:
        answer = await there.workflow_file(name, branch)
        if isinstance(answer, Answer) and answer.status == 200:
            files[f"{FOLDER}/{name}"] = answer.text
    return files


async def _mlflow(settings: Settings, url: str | None) -> list[Finding]:
    hint = "set it to MLflow's address, here and for the bridge, which then finds what no delivery told it"
    if settings.mlflow_tracking_uri is None:
        return [warning("mlflow", "", "MLFLOW_TRACKING_URI is not set, so that its webhooks can't be checked", hint)]
    try:
        with ExitStack() as stack:
            mlflow = clients.mlflow(settings)
            assert mlflow is not None  # noqa: S101  an address is set
            stack.enter_context(mlflow)
            return await run_in_daemon_thread(_asked, mlflow, settings, url)
    except MlflowError as error:
        return [told("mlflow", "", str(error))]


def _asked(mlflow: MlflowApi, settings: Settings, url: str | None) -> list[Finding]:
    asked = time.time()
    found = list(mlflow.webhooks())
    ahead = clock.ahead(mlflow.date, asked, time.time())
    findings = [
        ok("mlflow", mlflow.server, "it answers, and lets us see its webhooks"),
        clock.mlflow(ahead, mlflow.server, settings.max_timestamp_age),
    ]
    leading = webhooks.ours(found, url)
    if not leading:
        where = f"to {url}" if url else "to a bridge"
        if not settings.webhook_secrets:
            said = f"none of {len(found)} webhooks leads {where}, and there is no MLFLOW_WEBHOOK_SECRET"
            return [*findings, warning(webhooks.CHECK, mlflow.server, f"{said}: the reconciler works alone", _CREATE)]
        return [
            *findings,
            failed(webhooks.CHECK, mlflow.server, f"none of {len(found)} webhooks leads {where}", _CREATE),
        ]
    for each in leading:
        findings += webhooks.judge(each, webhooks.needed(settings.routes))
        if event := webhooks.to_test(each):
            findings.append(_tested(mlflow, each, event))
    return findings


_CREATE: Final = "run `mlflow-bridge webhook create https://bridge.example.com/webhook`, with the bridge's own address"


def _tested(mlflow: MlflowApi, each: Webhook, event: str) -> Finding:
    try:
        return webhooks.tested(each, mlflow.test_webhook(each.id, event))
    except MlflowError as error:
        return told(webhooks.DELIVERY, webhooks.named(each), str(error))
