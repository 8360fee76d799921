"""Whether GitHub can run model-image.yml as a workflow calls it: its code, its runner and its inputs. Pure.

Sources: GitHub's document "Reuse workflows"; the README of actions/checkout on private repositories; for GitHub
Enterprise Server those of actions/upload-artifact and actions/attest.
"""

from collections.abc import Mapping
from typing import Final

from bridge.core.findings import Finding, failed, unknown, warning
from bridge.core.routing import Route
from bridge.doctor.workflow import CHECK
from bridge.github.expressions import as_string
from bridge.github.responses import Answer, Outcome
from bridge.github.runners import RunnerUnavailable, RunsOnInvalid, check_owners, read_runs_on
from bridge.github.workflow_file import FOLDER, Call, Workflow

_CALLED: Final = f"{FOLDER}/model-image.yml"
_NOT_ON_SERVER: Final = ("sbom", "attest")


def calls(workflow: Workflow) -> list[Call]:
    """Return the workflow's calls of model-image.yml."""
    return [call for call in workflow.calls if call.path == _CALLED]


def code(call: Call, *, is_server: bool) -> str:
    """Return the repository from which a run checks out the bridge's code, empty if it is the caller's own.

    GitHub Enterprise Server doesn't tell a called workflow its repository, so an input does.
    """
    return as_string(call.inputs.get("bridge-repository")) if is_server else call.repository


def check(route: Route, workflow: Workflow, seen: Mapping[str, Outcome], *, is_server: bool) -> list[Finding]:
    """Check the calls; `seen` has GitHub's answer about each repository of `code`. Finds nothing if all is well."""
    findings = []
    for call in calls(workflow):
        findings += _check_code(route, code(call, is_server=is_server), seen)
        findings += _check_runner(route, call, is_server=is_server)
        if is_server:
            findings += _check_inputs(route, workflow, call)
    return findings


def _check_code(route: Route, repository: str, seen: Mapping[str, Outcome]) -> list[Finding]:
    if repository not in seen:
        return []
    answer, subject = seen[repository], _subject(route)
    content = answer.json if isinstance(answer, Answer) and answer.status == 200 else None
    if isinstance(content, dict) and not content.get("private"):
        return []
    message = f"{repository} is private, so a run of {route.repository} can't check out the bridge's code"
    if not isinstance(content, dict):
        if not isinstance(answer, Answer) or answer.status != 404:
            return [unknown(CHECK, subject, f"can't check whether a run can read {repository}", "try again later")]
        message = (
            f"{repository} is private or doesn't exist, so a run of {route.repository} can't read the bridge's code"
        )
    hint = (
        f"make {repository} public, or keep the bridge's code in the repository that builds the images: "
        f"push a copy, and call ./{_CALLED} there"
    )
    return [failed(CHECK, subject, message, hint)]


def _check_runner(route: Route, call: Call, *, is_server: bool) -> list[Finding]:
    text = as_string(call.inputs.get("runs-on", "ubuntu-latest"))
    if "${{" in text:
        return []  # only a run knows
    try:
        runs_on = read_runs_on(text)
        if call.repository and not is_server:  # a server is one enterprise
            check_owners(runs_on, call.repository, route.repository)
    except RunsOnInvalid as error:
        return [failed(CHECK, _subject(route), error.message, error.hint)]
    except RunnerUnavailable as error:
        return [warning(CHECK, _subject(route), error.message, error.hint)]
    return []


def _check_inputs(route: Route, workflow: Workflow, call: Call) -> list[Finding]:
    used = [name for name in _NOT_ON_SERVER if as_string(call.inputs.get(name, False)) != "false"]
    if not used:
        return []
    message = f"{workflow.path} sets {' and '.join(used)}, which don't work on GitHub Enterprise Server"
    return [failed(CHECK, _subject(route), message, f"remove {' and '.join(used)} from `with:`")]


def _subject(route: Route) -> str:
    return f"{route.repository} ({route.name})"
