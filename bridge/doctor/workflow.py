"""Whether a workflow would start for a route, and whether its run could be known: read from the file's text. Pure.

Sources: GitHub's documents "Events that trigger workflows" and "Workflow syntax for GitHub Actions".
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from bridge.core.findings import Finding, failed, ok, unknown, warning
from bridge.core.routing import DispatchMethod, Route
from bridge.github.expressions import InvalidExpression
from bridge.github.workflow_file import FOLDER, Workflow, read_yaml

CHECK: Final = "workflow"

_ID: Final = "01J00000000000000000000000"
_MODEL: Final = {"name": "a model", "version": "1", "alias": "an alias"}
_PAYLOAD: Final = {"schema": 1, "dispatch_id": _ID, "delivery_id": "", "event": "", "model": _MODEL, "inputs": {}}
_INPUTS: Final = {"model": "a model", "version": "1", "alias": "an alias", "payload": json.dumps(_PAYLOAD)}

_HEADS: Final = {
    DispatchMethod.REPOSITORY: "${{ github.event.client_payload.dispatch_id }}",
    DispatchMethod.WORKFLOW: "${{ fromJSON(inputs.payload).dispatch_id }}",
}


def read(path: str, text: str) -> Workflow | None:
    """Give the workflow in the text of a file, None where it is none."""
    try:
        document = read_yaml(text)
    except yaml.YAMLError:
        return None
    return Workflow(path, document) if isinstance(document, Mapping) else None


def judge(route: Route, files: Mapping[str, str], branch: str) -> list[Finding]:
    """Judge the files, by path, of the folder of workflows on the branch that the route's events start runs on."""
    about = f"{route.repository} ({route.name})"
    workflows = [found for path, text in sorted(files.items()) if (found := read(path, text))]
    if route.dispatch is DispatchMethod.WORKFLOW:
        return _by_file(about, route, workflows, files)
    listening = [workflow for workflow in workflows if workflow.listens_to(route.event_type)]
    if not listening:
        return [_nobody_listens(about, route, workflows, branch)]
    findings = [_title(about, route, workflow, branch) for workflow in listening]
    if len(listening) > 1:
        names = ", ".join(_name(workflow) for workflow in listening)
        said = f"{len(listening)} workflows listen to {route.event_type!r} ({names}): each event starts them all"
        findings.append(warning(CHECK, about, said, "let one of them listen"))
    return findings


def _nobody_listens(about: str, route: Route, workflows: Sequence[Workflow], branch: str) -> Finding:
    others = [_name(workflow) for workflow in workflows if "repository_dispatch" in _triggers(workflow)]
    said = f"no workflow on the branch {branch} listens to repository_dispatch of the type {route.event_type!r}"
    if others:
        hint = f"add {route.event_type!r} to `types:` in {', '.join(others)}, or set GITHUB_EVENT_TYPE to what is there"
    else:
        hint = f"run `mlflow-bridge workflow init` in a checkout, commit, and push it to {branch}"
    return failed(CHECK, about, said, hint)


def _by_file(about: str, route: Route, workflows: Sequence[Workflow], files: Mapping[str, str]) -> list[Finding]:
    path = f"{FOLDER}/{route.workflow}"
    found = next((workflow for workflow in workflows if workflow.path == path), None)
    if found is None:
        said = "is no workflow (its YAML can't be read)" if path in files else "is not there"
        hint = f"run `mlflow-bridge workflow init` in a checkout, commit, and push it to {route.ref}"
        return [failed(CHECK, about, f"{route.workflow} {said} on {route.ref}", hint)]
    if found.inputs is None:
        said = f"{route.workflow} doesn't listen to workflow_dispatch"
        return [failed(CHECK, about, said, "add `workflow_dispatch` to its `on:`, with the inputs of our workflow")]
    if lacking := [name for name in _INPUTS if name not in found.inputs]:
        said = f"{route.workflow} lacks the inputs {', '.join(lacking)}, so that GitHub refuses each dispatch"
        return [failed(CHECK, about, said, "declare them below `workflow_dispatch`, as strings")]
    asked = [name for name, each in found.inputs.items() if each.required and not each.default]
    if more := [name for name in asked if name not in ("model", "version", "payload")]:
        said = f"{route.workflow} requires the inputs {', '.join(more)}, which no event (or not every one) has"
        return [failed(CHECK, about, said, "take `required` off them")]
    return [_title(about, route, found, str(route.ref))]


def _title(about: str, route: Route, workflow: Workflow, branch: str) -> Finding:
    """Evaluate the run's name as GitHub would for a dispatch, and look whether the id stands first."""
    hint = f"begin `run-name:` with {_HEADS[route.dispatch]}"
    try:
        title = workflow.title(_context(route, workflow, branch))
    except InvalidExpression:
        return unknown(
            CHECK, about, f"the run-name of {_name(workflow)} can't be evaluated here", f"see that it {hint}"
        )
    if title.startswith(_ID):
        said = f"{_name(workflow)} on {branch} listens, and its runs begin with the dispatch id"
        return ok(CHECK, about, said)
    said = f"the run-name of {_name(workflow)} doesn't begin with the dispatch id, so that no run is known"
    return failed(CHECK, about, said, hint)


def _context(route: Route, workflow: Workflow, branch: str) -> dict[str, Any]:
    owner = route.repository.partition("/")[0]
    event = {"action": route.event_type, "client_payload": _PAYLOAD}
    inputs: Mapping[str, str] = {}
    if route.dispatch is DispatchMethod.WORKFLOW:
        inputs = {name: each.default for name, each in (workflow.inputs or {}).items()} | _INPUTS
        event = {"inputs": inputs}
    github = {
        "event": event,
        "event_name": str(route.dispatch),
        "repository": route.repository,
        "repository_owner": owner,
        "actor": owner,
        "triggering_actor": owner,
        "ref": f"refs/heads/{branch}",
        "ref_name": branch,
        "ref_type": "branch",
        "sha": "0" * 40,
        "workflow": workflow.name,
        "run_id": "1",
        "run_number": "1",
        "run_attempt": "1",
    }
    return {"github": github, "inputs": workflow.typed(inputs), "vars": {}}


def _name(workflow: Workflow) -> str:
    return workflow.path.rpartition("/")[2]


def _triggers(workflow: Workflow) -> str:
    return json.dumps(workflow.document.get("on"), default=str)
