"""Checks GitHub's answers about a repository: is it usable, may the credential dispatch, would a run start. Pure.

Source: GitHub's "Troubleshooting the REST API": 404 for what a credential cannot see, 403 with the header
X-Accepted-GitHub-Permissions for what it may not do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from bridge.core.findings import Finding, failed, ok, unknown, warning
from bridge.core.routing import DispatchMethod, Route
from bridge.doctor import calls, workflow
from bridge.github.responses import MOVED, Answer, Outcome, is_rate_limit
from bridge.github.workflow_file import FOLDER

_NAME: Final = re.compile(r"[A-Za-z0-9][\w-]*/(?!\.\.?$)[\w.-]+", re.ASCII)

_EXPIRES_SOON: Final = 14 * 24 * 3600.0
"""Seconds before a token expires from which on there is a warning."""


@dataclass(frozen=True)
class RepositoryAnswers:
    """GitHub's answers about one repository.

    `folders` and `files` have, by branch, the listing of the workflows' folder and the text of each file by its path.
    `rights` has the answer to an invalid dispatch by its method and, if the method has one, its workflow's file.
    `others` has the answers about other repositories that the workflows need.
    """

    name: str
    about: Outcome
    branch: str = ""
    folders: Mapping[str, Outcome] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rights: Mapping[tuple[DispatchMethod, str], Outcome] = field(default_factory=dict)
    runs: Outcome | None = None
    workflows: Outcome | None = None
    actions: Outcome | None = None
    others: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def is_server(self) -> bool:
        """Whether this is GitHub Enterprise Server, which names its version in each answer."""
        return isinstance(self.about, Answer) and "x-github-enterprise-version" in self.about.headers


def branch(route: Route, default: str) -> str:
    """Return the branch on which the route's events start runs."""
    return (route.ref if route.dispatch is DispatchMethod.WORKFLOW else None) or default


def others(answers: RepositoryAnswers, routes: tuple[Route, ...]) -> list[str]:
    """Return the other repositories from which runs get the bridge's code."""
    found = {
        calls.code(call, is_server=answers.is_server)
        for route in routes
        for started in workflow.starting(route, answers.files.get(branch(route, answers.branch), {}))
        for call in calls.calls(started)
    }
    return sorted(name for name in found if _NAME.fullmatch(name) and name.lower() != answers.name.lower())


def check_credential(outcome: Outcome, expires_at: float | None, now: float, *, is_app: bool) -> Finding:
    """Check whether GitHub accepts the token or the App's key, and until when; `expires_at` in Unix seconds."""
    check, subject = ("app", "GITHUB_APP_ID") if is_app else ("token", "GITHUB_TOKEN")
    if not isinstance(outcome, Answer):
        return unknown(check, subject, "GitHub did not respond")
    if outcome.status == 401:
        hint = "create a new token and set GITHUB_TOKEN to it, because this one is incomplete, expired or revoked"
        if is_app:
            hint = "create a new key in the App's settings, and set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY"
        return failed(check, subject, f"GitHub rejects it (401 {outcome.message})", hint)
    if is_app:
        return ok(check, subject, "GitHub accepts the App's key")
    if expires_at is None:
        return ok(check, subject, "valid; GitHub reports no expiry")
    message = f"valid until {datetime.fromtimestamp(expires_at, UTC):%Y-%m-%d %H:%M} UTC"
    if expires_at - now < _EXPIRES_SOON:
        return warning(check, subject, message, "create a new token before then, and set GITHUB_TOKEN to it")
    return ok(check, subject, message)


def check(answers: RepositoryAnswers, routes: tuple[Route, ...], *, is_app: bool) -> list[Finding]:
    """Check one repository and the routes that lead to it."""
    # 1. The repository is visible and in use; without it, nothing else can be checked.
    findings = [_check_visible(answers, is_app=is_app)]
    if not isinstance(answers.about, Answer) or answers.about.status != 200:
        return findings

    # 2. The credential may dispatch, by each method that a route uses, and may read runs.
    findings += [_check_dispatch(answers.name, *method, outcome) for method, outcome in answers.rights.items()]
    if isinstance(answers.runs, Answer) and answers.runs.status == 200:
        findings.append(ok("permission", answers.name, "the token or App can read workflow runs (actions=read)"))
    else:
        findings.append(_no_permission("permission", answers.name, answers.runs, "actions=read"))

    # 3. GitHub Actions is enabled.
    findings.append(_check_actions(answers.name, answers.actions))

    # 4. Each route has a workflow that starts.
    for route in routes:
        findings += _check_workflow(answers, route)
    return findings


def _check_visible(answers: RepositoryAnswers, *, is_app: bool) -> Finding:
    check, name, about = "repository", answers.name, answers.about
    if not isinstance(about, Answer):
        hint = "check GITHUB_API_URL, and that this machine can reach it"
        return failed(check, name, f"GitHub can't be reached ({about.cause})", hint)
    if about.status == 404:
        grant = "install the App on it" if is_app else "grant the token access to it"
        hint = f"check the name in GITHUB_REPOSITORY or ROUTES_FILE, and {grant}"
        return failed(check, name, f"GitHub can't find the repository ({about.message})", hint)
    if about.status in MOVED:
        hint = "change GITHUB_REPOSITORY or the route to its new name"
        return failed(check, name, f"the repository has moved ({about.status})", hint)
    if about.status != 200:
        return _no_permission(check, name, about, "metadata=read")
    content = about.json
    if isinstance(content, dict) and (content.get("archived") or content.get("disabled")):
        return failed(
            check, name, "it is archived or disabled, so no run can start", "unarchive it, or use another repository"
        )
    return ok(check, name, f"accessible; its default branch is {answers.branch}")


def _check_dispatch(name: str, method: DispatchMethod, file: str, outcome: Outcome) -> Finding:
    """Check the answer to an invalid dispatch: 422 (or 400) means that only its body was wrong."""
    check = "permission"
    needed = "contents=write" if method is DispatchMethod.REPOSITORY else "actions=write"
    if isinstance(outcome, Answer) and outcome.status in (400, 422):
        if "disabled" in outcome.message:
            hint = "enable GitHub Actions in the repository's settings"
            return failed(check, name, f"GitHub rejects dispatches ({outcome.message})", hint)
        return ok(check, name, f"the token or App can start runs with {method} ({needed})")
    if isinstance(outcome, Answer) and outcome.status == 404 and file:
        return unknown(check, name, f"can't check the permission to start {file}: GitHub can't find this workflow")
    return _no_permission(check, name, outcome, needed)


def _check_actions(name: str, outcome: Outcome | None) -> Finding:
    check = "actions"
    if not isinstance(outcome, Answer) or outcome.status != 200 or not isinstance(outcome.json, dict):
        # Few credentials may ask, and the bridge doesn't need to.
        hint = (
            "check in the repository's settings that GitHub Actions is enabled; the bridge doesn't need this permission"
        )
        return unknown(check, name, "this check needs administration=read, which the token or App does not have", hint)
    if not outcome.json.get("enabled"):
        return failed(
            check, name, "GitHub Actions is disabled", "enable it in the repository's settings, under Actions"
        )
    if outcome.json.get("allowed_actions") == "local_only":
        message = "GitHub Actions is enabled, but only actions of the same owner are allowed"
        return warning(check, name, message, "also allow actions/checkout and docker/login-action")
    return ok(check, name, "GitHub Actions is enabled")


def _check_workflow(answers: RepositoryAnswers, route: Route) -> list[Finding]:
    check, subject = workflow.CHECK, f"{route.repository} ({route.name})"
    on = branch(route, answers.branch)

    # 1. The branch has workflow files, and we may read them.
    folder = answers.folders.get(on)
    if isinstance(folder, Answer) and folder.status == 404:
        hint = f"run `mlflow-bridge workflow init` in a checkout, commit the file, and push it to {on}"
        return [failed(check, subject, f"there is no folder {FOLDER} on {on}", hint)]
    if not isinstance(folder, Answer) or folder.status != 200:
        return [unknown(check, subject, "the workflow files can't be read", "grant the permission contents=read")]

    # 2. One of them starts for the route's events.
    files = answers.files.get(on, {})
    findings = workflow.check(route, files, on)

    # 3. Nobody has disabled it, nor GitHub after 60 days without activity; and GitHub can run what it calls.
    content = answers.workflows.json if isinstance(answers.workflows, Answer) else None
    listed = content.get("workflows", []) if isinstance(content, dict) else []
    states = {str(entry.get("path")): str(entry.get("state")) for entry in listed}
    for started in workflow.starting(route, files):
        if states.get(started.path, "active") != "active":
            hint = "enable it on the repository's Actions page"
            findings.append(failed(check, subject, f"{started.path} is disabled ({states[started.path]})", hint))
        findings += calls.check(route, started, answers.others, is_server=answers.is_server)
    return findings


def _no_permission(check: str, name: str, outcome: Outcome | None, needed: str) -> Finding:
    """Check an answer that is not a success: a refusal means a missing permission, anything else means nothing."""
    if not isinstance(outcome, Answer):
        return unknown(check, name, f"GitHub did not respond ({outcome.cause if outcome else 'no request was sent'})")
    answer = " ".join(f"{outcome.status} {outcome.message}".split())
    if is_rate_limit(outcome):
        return unknown(check, name, f"GitHub's rate limit is exceeded ({answer})", "try again later")
    if outcome.status in (401, 403, 404):
        permission = outcome.headers.get("x-accepted-github-permissions") or needed
        message = f"GitHub denied access ({answer}): the permission {permission} is missing"
        return failed(check, name, message, f"grant the token or App the permission {permission}")
    return unknown(check, name, f"GitHub returned {answer}", "try again later")
