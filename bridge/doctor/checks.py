"""All requests of the doctor: to everything that the settings name. Other modules check the answers.

No request starts or changes anything. MLflow's test delivery goes furthest: the bridge answers it and never dispatches
it.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import httpx2

from bridge import clients
from bridge.core import http_answers
from bridge.core.findings import Finding, failed, ok, unknown, warning
from bridge.core.http_answers import AnswerUnreadable
from bridge.core.routing import DispatchMethod, Route
from bridge.core.text import read_json
from bridge.doctor import clock, repository
from bridge.doctor.repository import RepositoryAnswers
from bridge.github.client import GithubApi
from bridge.github.repository import GithubRepository
from bridge.github.responses import Answer, Outcome
from bridge.github.workflow_file import FOLDER
from bridge.ledger import inspection
from bridge.mlflow import webhooks
from bridge.mlflow.client import MlflowApi, MlflowError
from bridge.mlflow.threads import run_in_daemon_thread
from bridge.settings import Settings, SettingsInvalid, find_weaknesses, load

_MAX_FILES: Final = 50
"""Workflow files of one branch that are read."""


async def run_checks(url: str | None = None) -> tuple[Settings | None, list[Finding]]:
    """Return the settings (None if they are invalid), and the findings in the order of a delivery's path.

    `url` is the webhook's address; it is needed if MLflow has webhooks to other bridges.
    """
    # 1. Settings. Without them, nothing else can be checked.
    try:
        settings = load()
    except SettingsInvalid as error:
        return None, [failed("settings", "", problem.message, problem.hint) for problem in error.problems]
    findings = [ok("settings", "", "complete and valid")]
    findings += [warning("settings", weak.setting, weak.message, weak.hint) for weak in find_weaknesses(settings)]

    # 2. The ledger, and the bridge itself if it runs on this machine.
    findings.append(inspection.check(await asyncio.to_thread(inspection.inspect, settings.database_url)))
    findings.append(await _check_bridge(settings))

    # 3. GitHub: credential, repositories, workflows.
    findings += await _check_github(settings)

    # 4. MLflow: its webhooks, and a test delivery of each.
    if settings.mlflow_tracking_uri is None:
        message = "MLFLOW_TRACKING_URI is not set, so webhooks can't be checked and missed events can't be recovered"
        hint = "set it to MLflow's address, here and for the bridge"
        return settings, [*findings, warning("mlflow", "", message, hint)]
    try:
        mlflow = clients.mlflow(settings)
        assert mlflow is not None  # noqa: S101  its address is set
        with mlflow:
            findings += await run_in_daemon_thread(_check_mlflow, mlflow, settings, url)
    except MlflowError as error:
        findings.append(failed("mlflow", "", error.message, error.hint))
    return settings, findings


async def _check_bridge(settings: Settings) -> Finding:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104  compared, not bound
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=5.0) as client:
            answer = await http_answers.ask(client, client.build_request("GET", f"{url}/ready"))
        degraded = read_json(answer.content)["degraded"]
    except (httpx2.HTTPError, httpx2.InvalidURL, AnswerUnreadable, ValueError, KeyError, TypeError):
        return unknown("bridge", url, "no bridge responds on this machine", "start it here with `mlflow-bridge serve`")
    if degraded:
        hint = "sign in to its status page or to /ready as admin to see each problem and its fix"
        return warning("bridge", url, f"running, but degraded: {', '.join(map(str, degraded))}", hint)
    return ok("bridge", url, "running without problems")


async def _check_github(settings: Settings) -> list[Finding]:
    is_app = settings.github_token is None
    findings: list[Finding] = []
    async with clients.github(settings) as github:
        for name in settings.repositories:
            # 1. The first answer also shows GitHub's clock and whether the credential is valid.
            asked_at = time.time()
            about = await GithubRepository(github, name).about()
            if not findings:
                date = about.headers.get("date") if isinstance(about, Answer) else None
                ahead = clock.seconds_ahead(date, asked_at, time.time())
                findings.append(clock.check_github(ahead, settings.github_api_url))
                expires_at = github.token_expires_at
                findings.append(repository.check_credential(about, expires_at, time.time(), is_app=is_app))
            if isinstance(about, Answer) and about.status == 401:
                break  # the answer is the same for every repository

            # 2. The repository and its workflows.
            routes = tuple(route for route in settings.routes if route.repository == name)
            findings += repository.check(await _ask(github, name, about, routes), routes, is_app=is_app)
    return findings


async def _ask(github: GithubApi, name: str, about: Outcome, routes: tuple[Route, ...]) -> RepositoryAnswers:
    content = about.json if isinstance(about, Answer) and about.status == 200 else None
    if not isinstance(content, dict):
        return RepositoryAnswers(name, about)
    client = GithubRepository(github, name)

    # 1. The workflow files of each branch on which a route's runs start.
    default = str(content.get("default_branch", "main"))
    branches = {repository.branch(route, default) for route in routes}
    folders = {branch: await client.workflow_files(branch) for branch in sorted(branches)}
    files = {branch: await _read_files(client, folder, branch) for branch, folder in folders.items()}

    # 2. One invalid dispatch by each method: GitHub checks the permission before the body.
    rights = {
        (method, file): await (
            client.try_workflow_dispatch(file) if method is DispatchMethod.WORKFLOW else client.try_dispatch()
        )
        for method, file in sorted({(route.dispatch, route.workflow or "") for route in routes})
    }

    # 3. What Actions show of it.
    workflows, runs, actions = await client.workflows(), await client.runs(), await client.actions()
    answers = RepositoryAnswers(name, about, default, folders, files, rights, runs, workflows, actions)

    # 4. The repositories from which runs get the bridge's code.
    others = {other: await client.about_other(other) for other in repository.others(answers, routes)}
    return replace(answers, others=others)


async def _read_files(client: GithubRepository, folder: Outcome, branch: str) -> Mapping[str, str]:
    listed = folder.json if isinstance(folder, Answer) and folder.status == 200 else None
    names = [str(entry.get("name")) for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    files: dict[str, str] = {}
    for name in [name for name in names if name.endswith((".yml", ".yaml"))][:_MAX_FILES]:
        answer = await client.workflow_file(name, branch)
        if isinstance(answer, Answer) and answer.status == 200:
            files[f"{FOLDER}/{name}"] = answer.text
    return files


def _check_mlflow(mlflow: MlflowApi, settings: Settings, url: str | None) -> list[Finding]:
    # 1. MLflow answers, and its clock is right.
    asked_at = time.time()
    all_webhooks = list(mlflow.webhooks())
    ahead = clock.seconds_ahead(mlflow.date, asked_at, time.time())
    findings = [
        ok("mlflow", mlflow.server, "reachable, and its webhooks can be read"),
        clock.check_mlflow(ahead, mlflow.server, settings.max_timestamp_age),
    ]

    # 2. A webhook leads to the bridge.
    matching = webhooks.to_bridge(all_webhooks, url)
    if not matching:
        message = f"MLflow has no webhook to {url or 'a bridge'} ({len(all_webhooks)} checked)"
        hint = "run `mlflow-bridge webhook create https://bridge.example.com/webhook` with the address of your bridge"
        if settings.webhook_secrets:
            return [*findings, failed(webhooks.CHECK, mlflow.server, message, hint)]
        # Without a secret, the operator may mean it: the bridge accepts no webhook then.
        message += ", and MLFLOW_WEBHOOK_SECRET is not set: only the reconciler finds events"
        return [*findings, warning(webhooks.CHECK, mlflow.server, message, hint)]

    # 3. Each of them is active, has the events, and its test delivery arrives.
    for webhook in matching:
        findings += webhooks.check(webhook, webhooks.required_events(settings.routes))
        if event := webhooks.event_to_test(webhook):
            try:
                findings.append(webhooks.check_test(webhook, mlflow.test_webhook(webhook.id, event)))
            except MlflowError as error:
                findings.append(failed(webhooks.DELIVERY, webhooks.label(webhook), error.message, error.hint))
    return findings
