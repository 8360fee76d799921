"""What was seen of a repository, judged: is it there, may the credential dispatch and follow, would a run start. Pure.

Source: GitHub's "Troubleshooting the REST API": 404 for what a credential can't see, 403 with the header
X-Accepted-GitHub-Permissions for what it may not do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from bridge.core.findings import Finding, failed, ok, unknown, warning
from bridge.core.routing import DispatchMethod, Route
from bridge.doctor import workflow
from bridge.github.responses import Answer, Outcome, is_rate_limit
from bridge.github.workflow_file import FOLDER

_SOON: Final = 14 * 24 * 3600.0
"""Seconds before a token's end from which on it is told."""

_MOVED: Final = (301, 302, 307, 308)


@dataclass(frozen=True)
class SeenRepository:
    """What GitHub answered about one repository. `files`: by branch the folder's listing and each file's text.

    `rights`: by the way out, and the workflow's file where that has one, what came of a dispatch that can't be.
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


def token(seen: Outcome, expires_at: float | None, now: float, *, is_app: bool) -> Finding:
    """Say whether GitHub lets us in at all, and until when; `expires_at` in Unix seconds."""
    check, about = ("app", "GITHUB_APP_ID") if is_app else ("token", "GITHUB_TOKEN")
    if not isinstance(seen, Answer):
        return unknown(check, about, "GitHub gave no answer")
    if seen.status == 401:
        hint = "make a new key in the App's settings, and set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY to what is there"
        if not is_app:
            hint = "make a new token and set GITHUB_TOKEN to it: this one was cut short, has ended, or was taken back"
        return failed(check, about, f"GitHub doesn't take it (401 {seen.message})", hint)
    if is_app:
        return ok(check, about, "GitHub takes the App's key")
    if expires_at is None:
        return ok(check, about, "GitHub takes it, and tells no end of its life")
    said = f"GitHub takes it until {datetime.fromtimestamp(expires_at, UTC):%Y-%m-%d %H:%M} UTC"
    if expires_at - now < _SOON:
        return warning(check, about, said, "make a new token before that, and set GITHUB_TOKEN to it")
    return ok(check, about, said)


def judge(seen: SeenRepository, routes: tuple[Route, ...], *, is_app: bool) -> list[Finding]:
    """Give the findings about one repository and the routes that lead to it."""
    there = _there(seen, is_app=is_app)
    if not isinstance(seen.about, Answer) or seen.about.status != 200:
        return [there]
    findings = [there, *(_right(seen.name, way, answer) for way, answer in seen.rights.items())]
    findings += [_runs(seen.name, seen.runs), _actions(seen.name, seen.actions)]
    for route in routes:
        findings += _workflow(seen, route)
    return findings


def _there(seen: SeenRepository, *, is_app: bool) -> Finding:
    check, name, about = "repository", seen.name, seen.about
    if not isinstance(about, Answer):
        hint = "check GITHUB_API_URL, and that this machine may reach it"
        return failed(check, name, f"GitHub can't be reached ({about.cause})", hint)
    who = "install the App on it" if is_app else "let the token reach it"
    if about.status == 404:
        said = f"GitHub shows no such repository ({about.message})"
        return failed(check, name, said, f"check the name in GITHUB_REPOSITORY or ROUTES_FILE, and {who}")
    if about.status in _MOVED:
        hint = "set GITHUB_REPOSITORY, or the route, to its new name"
        return failed(check, name, f"the repository has moved ({about.status})", hint)
    if about.status != 200:
        return _other(check, name, about, "metadata=read")
    content = about.json
    if isinstance(content, dict) and (content.get("archived") or content.get("disabled")):
        return failed(check, name, "it is archived or disabled, so that no run starts", "unarchive it, or take another")
    return ok(check, name, f"GitHub shows it; its default branch is {seen.branch}")


def _right(name: str, way: tuple[DispatchMethod, str], seen: Outcome) -> Finding:
    """Judge the answer to a dispatch that can't be: 422 (or 400) means that all but the body was right."""
    check, (how, file) = "permission", way
    needed = "contents=write" if how is DispatchMethod.REPOSITORY else "actions=write"
    if isinstance(seen, Answer) and seen.status in (400, 422):
        if "disabled" in seen.message:
            return failed(
                check, name, f"GitHub refuses ({seen.message})", "enable Actions in the repository's settings"
            )
        return ok(check, name, f"it may start runs by {how} ({needed})")
    if isinstance(seen, Answer) and seen.status == 404 and file:
        return unknown(check, name, f"whether it may start {file}: Actions know no such workflow, or don't show it")
    return _other(check, name, seen, needed)


def _runs(name: str, seen: Outcome | None) -> Finding:
    if isinstance(seen, Answer) and seen.status == 200:
        return ok("permission", name, "it may follow runs (actions=read)")
    return _other("permission", name, seen, "actions=read")


def _other(check: str, name: str, seen: Outcome | None, needed: str) -> Finding:
    """Judge any other answer: what is refused is a permission that is missing, all else tells nothing."""
    if not isinstance(seen, Answer):
        return unknown(check, name, f"GitHub gave no answer ({seen.cause if seen else 'it was not asked'})")
    said = " ".join(f"GitHub refuses ({seen.status} {seen.message}".split()) + ")"
    if is_rate_limit(seen):
        return unknown(check, name, said, "wait until GitHub's rate limit lets us ask again")
    if seen.status in (401, 403, 404):
        accepted = seen.headers.get("x-accepted-github-permissions") or needed
        return failed(check, name, f"{said}: it lacks {accepted}", f"give the token or App the permission {accepted}")
    return unknown(check, name, said, "ask again later")


def _actions(name: str, seen: Outcome | None) -> Finding:
    """Say whether Actions are enabled; hardly a token may ask, and none need."""
    hint = (
        "see that Actions are enabled in its settings: only administration=read may ask, which the bridge doesn't need"
    )
    if not isinstance(seen, Answer) or seen.status != 200 or not isinstance(seen.json, dict):
        return unknown("actions", name, "the token may not ask whether Actions are enabled", hint)
    if not seen.json.get("enabled"):
        return failed(
            "actions", name, "Actions are disabled", "enable them in the repository's settings, under Actions"
        )
    if seen.json.get("allowed_actions") == "local_only":
        said = "Actions are enabled, and only those of the same owner may be used"
        return warning("actions", name, said, "allow actions/checkout, astral-sh/setup-uv and docker/login-action too")
    return ok("actions", name, "Actions are enabled")


def _workflow(seen: SeenRepository, route: Route) -> list[Finding]:
    branch = (route.ref if route.dispatch is DispatchMethod.WORKFLOW else None) or seen.branch
    folder, about = seen.folders.get(branch), f"{route.repository} ({route.name})"
    if isinstance(folder, Answer) and folder.status == 404:
        hint = f"run `mlflow-bridge workflow init` in a checkout, commit, and push it to {branch}"
        return [failed(workflow.CHECK, about, f"there is no folder {FOLDER} on {branch}", hint)]
    if not isinstance(folder, Answer) or folder.status != 200:
        return [unknown(workflow.CHECK, about, "the workflows' files can't be read", "give it contents=read")]
    findings = workflow.judge(route, seen.files.get(branch, {}), branch)
    return findings + _disabled(seen, route, branch)


def _disabled(seen: SeenRepository, route: Route, branch: str) -> list[Finding]:
    """Name the workflows of the route that somebody, or GitHub after 60 quiet days, has switched off."""
    known = seen.workflows.json if isinstance(seen.workflows, Answer) else None
    listed = known.get("workflows", []) if isinstance(known, dict) else []
    off = {str(each.get("path")): str(each.get("state")) for each in listed if each.get("state") != "active"}
    found = [
        (path, off[path])
        for path, text in seen.files.get(branch, {}).items()
        if path in off and (read := workflow.read(path, text))
        if path.endswith(f"/{route.workflow}") or (route.workflow is None and read.listens_to(route.event_type))
    ]
    about = f"{route.repository} ({route.name})"
    return [
        failed(workflow.CHECK, about, f"{path} is switched off ({state})", "enable it on the repository's Actions page")
        for path, state in found
    ]
