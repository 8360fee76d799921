"""Whether a workflow starts for a route's events, and whether the bridge can recognize its runs. Pure: reads text.

Sources: GitHub's documents "Events that trigger workflows" and "Workflow syntax for GitHub Actions".
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import yaml

from bridge.core.findings import Finding, failed, ok, unknown, warning
from bridge.core.routing import DispatchMethod, Route
from bridge.github.expressions import InvalidExpression, UnknownName
from bridge.github.workflow_file import FOLDER, Workflow, read_yaml

CHECK: Final = "workflow"

_ID: Final = "01J00000000000000000000000"
_MODEL: Final = {"name": "a model", "version": "1", "alias": "an alias"}
_PAYLOAD: Final = {"schema": 1, "dispatch_id": _ID, "delivery_id": "", "event": "", "model": _MODEL, "inputs": {}}
_INPUTS: Final = {"model": "a model", "version": "1", "alias": "an alias", "payload": json.dumps(_PAYLOAD)}

_RUN_NAMES: Final = {
    DispatchMethod.REPOSITORY: "${{ github.event.client_payload.dispatch_id }}",
    DispatchMethod.WORKFLOW: "${{ fromJSON(inputs.payload).dispatch_id }}",
}
"""What `run-name:` has to begin with."""


def read(path: str, text: str) -> Workflow | None:
    """Return the workflow in the text of a file, None if it is not a workflow."""
    try:
        document = read_yaml(text)
    except yaml.YAMLError:
        return None
    return Workflow(path, document) if isinstance(document, Mapping) else None


def starting(route: Route, files: Mapping[str, str]) -> list[Workflow]:
    """Return the workflows that the route's events start."""
    workflows = [workflow for path, text in sorted(files.items()) if (workflow := read(path, text))]
    if route.dispatch is DispatchMethod.WORKFLOW:
        return [workflow for workflow in workflows if workflow.path == f"{FOLDER}/{route.workflow}"]
    return [workflow for workflow in workflows if workflow.listens_to(route.event_type)]


def check(route: Route, files: Mapping[str, str], branch: str) -> list[Finding]:
    """Check the workflow files of the branch on which the route's events start runs; `files` has texts by path."""
    if route.dispatch is DispatchMethod.WORKFLOW:
        return [_check_workflow_dispatch(route, files)]
    return _check_repository_dispatch(route, files, branch)


def _check_repository_dispatch(route: Route, files: Mapping[str, str], branch: str) -> list[Finding]:
    subject = _subject(route)

    # 1. A workflow listens to the event type.
    listening = starting(route, files)
    if not listening:
        others = [
            _name(workflow)
            for path, text in sorted(files.items())
            if (workflow := read(path, text))
            and "repository_dispatch" in json.dumps(workflow.document.get("on"), default=str)
        ]
        hint = _init_hint(branch)
        if others:
            hint = f"add {route.event_type!r} to `types:` in {', '.join(others)}, or change GITHUB_EVENT_TYPE to match"
        message = f"no workflow on branch {branch} listens for repository_dispatch with type {route.event_type!r}"
        return [failed(CHECK, subject, message, hint)]

    # 2. Its runs carry the dispatch id.
    findings = [_check_run_name(route, workflow, branch) for workflow in listening]

    # 3. No second workflow builds the same version.
    if len(listening) > 1:
        names = ", ".join(_name(workflow) for workflow in listening)
        message = (
            f"{len(listening)} workflows listen to {route.event_type!r} ({names}), so each event starts all of them"
        )
        findings.append(warning(CHECK, subject, message, "remove the type from all but one of them"))
    return findings


def _check_workflow_dispatch(route: Route, files: Mapping[str, str]) -> Finding:
    subject, file = _subject(route), route.workflow

    # 1. The file exists and is a workflow.
    workflow = next(iter(starting(route, files)), None)
    if workflow is None:
        is_file = f"{FOLDER}/{file}" in files
        problem = f"its YAML on {route.ref} can't be read" if is_file else f"it does not exist on {route.ref}"
        return failed(CHECK, subject, f"{file} is not a workflow: {problem}", _init_hint(str(route.ref)))

    # 2. It listens, and its inputs fit the bridge's: GitHub rejects a dispatch with other ones.
    inputs = workflow.inputs
    if inputs is None:
        hint = "add `workflow_dispatch` to its `on:`, with the inputs of on-mlflow-event.yml"
        return failed(CHECK, subject, f"{file} does not listen to workflow_dispatch", hint)
    if missing := [name for name in _INPUTS if name not in inputs]:
        message = f"{file} does not declare the inputs {', '.join(missing)}, so GitHub rejects every dispatch"
        return failed(CHECK, subject, message, "declare them under `workflow_dispatch`, as strings")
    # An event of a version has no alias, so `alias` must not be required either.
    required = [name for name, value in inputs.items() if value.required and not value.default]
    if unsent := [name for name in required if name not in ("model", "version", "payload")]:
        message = f"{file} requires the inputs {', '.join(unsent)}, which not every event has"
        return failed(CHECK, subject, message, "remove `required` from them")

    # 3. Its runs carry the dispatch id.
    return _check_run_name(route, workflow, str(route.ref))


def _check_run_name(route: Route, workflow: Workflow, branch: str) -> Finding:
    """Evaluate the run's name for a dispatch, as GitHub would; it has to begin with the dispatch id."""
    name, subject, context = _name(workflow), _subject(route), _context(route, workflow, branch)
    hint = f"begin `run-name:` with {_RUN_NAMES[route.dispatch]}"
    for key, evaluate in (("run-name", workflow.title), ("concurrency", workflow.concurrency)):
        try:
            evaluate(context)
        except UnknownName as error:
            message = f"GitHub rejects {name}, because `{key}` uses a name that doesn't exist there: {error.message}"
            known = (
                f"in `{key}`, use only the contexts github, inputs and vars, and write true, false and null like this"
            )
            return failed(CHECK, subject, message, known)
        except InvalidExpression:
            pass  # it may be valid
    try:
        title = workflow.title(context)
    except InvalidExpression:
        return unknown(CHECK, subject, f"the run-name of {name} can't be evaluated here", hint)
    if not title.startswith(_ID):
        message = f"the run-name of {name} does not begin with the dispatch id, so the bridge can't find its runs"
        return failed(CHECK, subject, message, hint)
    return ok(CHECK, subject, f"{name} on {branch} listens, and its runs begin with the dispatch id")


def _context(route: Route, workflow: Workflow, branch: str) -> dict[str, Any]:
    owner = route.repository.partition("/")[0]
    event = {"action": route.event_type, "client_payload": _PAYLOAD}
    inputs: Mapping[str, str] = {}
    if route.dispatch is DispatchMethod.WORKFLOW:
        inputs = {name: value.default for name, value in (workflow.inputs or {}).items()} | _INPUTS
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


def _init_hint(branch: str) -> str:
    return f"run `mlflow-bridge workflow init` in a checkout, commit the file, and push it to {branch}"


def _subject(route: Route) -> str:
    return f"{route.repository} ({route.name})"


def _name(workflow: Workflow) -> str:
    return workflow.path.rpartition("/")[2]
