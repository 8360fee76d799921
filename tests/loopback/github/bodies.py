"""GitHub's checks of the bodies of `repository_dispatch` and `workflow_dispatch`.

Source: GitHub's documents "Create a repository dispatch event" and "Create a workflow dispatch event", and the error
messages that users report.
"""

import json
from collections.abc import Mapping
from typing import Any

from bridge.github.workflow_file import Input
from tests.loopback.github.gate import DOCS, ApiError

MAX_EVENT_TYPE = 100
"""Characters."""
MAX_PROPERTIES = 10
MAX_PAYLOAD = 65_535
"""Characters of the payload as JSON."""

_REPOSITORY_DISPATCH = f"{DOCS}/repos/repos#create-a-repository-dispatch-event"
_WORKFLOW_DISPATCH = f"{DOCS}/actions/workflows#create-a-workflow-dispatch-event"


def read_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a request's body; raises `ApiError` 400."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise ApiError(400, "Problems parsing JSON") from error
    if not isinstance(content, dict):
        raise ApiError(400, "Body should be a JSON object")
    return content


def repository_dispatch(body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return event type and client payload; raises `ApiError` 422."""
    event_type, payload = body.get("event_type"), body.get("client_payload")
    if event_type is None:
        raise _invalid('"event_type" wasn\'t supplied.')
    if not isinstance(event_type, str):
        raise _invalid(f"For 'properties/event_type', {json.dumps(event_type)} is not a string.")
    if not 0 < len(event_type) <= MAX_EVENT_TYPE:
        raise _invalid(
            f"For 'properties/event_type', {len(event_type)} characters were supplied; 1 to 100 are allowed."
        )
    if payload is not None and not isinstance(payload, dict):
        raise _invalid(f"For 'properties/client_payload', {json.dumps(payload)} is not an object.")
    if payload and len(payload) > MAX_PROPERTIES:
        raise _invalid(f"No more than {MAX_PROPERTIES} properties are allowed; {len(payload)} were supplied.")
    if len(_compact(payload)) > MAX_PAYLOAD:
        raise ApiError(422, "client_payload is too large.", _REPOSITORY_DISPATCH)
    return event_type, payload or {}


def workflow_dispatch(body: Mapping[str, Any], declared: Mapping[str, Input], branch: str) -> dict[str, str]:
    """Return the run's inputs with their defaults; raises `ApiError` 422."""
    ref = body.get("ref")
    if not isinstance(ref, str):
        raise ApiError(422, 'Invalid request.\n\n"ref" wasn\'t supplied.', _WORKFLOW_DISPATCH)
    if ref.removeprefix("refs/heads/") != branch:
        raise ApiError(422, f"No ref found for: {ref}", _WORKFLOW_DISPATCH)
    inputs = body.get("inputs") or {}
    if not isinstance(inputs, dict):
        raise ApiError(422, f"Invalid request.\n\nFor 'properties/inputs', {json.dumps(inputs)} is not an object.")
    if unknown := [name for name in inputs if name not in declared]:
        raise ApiError(422, f"Unexpected inputs provided: {json.dumps(unknown)}", _WORKFLOW_DISPATCH)
    if len(_compact(inputs)) > MAX_PAYLOAD:
        raise ApiError(422, "inputs are too large.", _WORKFLOW_DISPATCH)
    return {name: _value(name, inputs.get(name), declaration) for name, declaration in declared.items()}


def no_trigger() -> ApiError:
    """Return the error for a workflow without the trigger `workflow_dispatch`."""
    return ApiError(422, "Workflow does not have 'workflow_dispatch' trigger", _WORKFLOW_DISPATCH)


def disabled() -> ApiError:
    """Return the error for a repository with Actions disabled."""
    return ApiError(422, "Actions has been disabled for this repository.", _WORKFLOW_DISPATCH)


def _value(name: str, value: Any, declared: Input) -> str:
    if value is None and declared.required and not declared.default:
        raise ApiError(422, f"Required input '{name}' not provided", _WORKFLOW_DISPATCH)
    text = declared.default if value is None else value if isinstance(value, str) else json.dumps(value)
    if declared.options and text not in declared.options:
        message = f"Provided value '{text}' for input '{name}' not in the list of allowed values"
        raise ApiError(422, message, _WORKFLOW_DISPATCH)
    return text


def _invalid(reason: str) -> ApiError:
    return ApiError(422, f"Invalid request.\n\n{reason}", _REPOSITORY_DISPATCH)


def _compact(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
