"""The request to GitHub that starts a run for a dispatch.

Sources: GitHub's REST API, "Create a repository dispatch event" and "Create a workflow dispatch event".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.core.errors import BridgeError
from bridge.core.payload import workflow_inputs
from bridge.core.routing import DispatchMethod

METHOD: Final = "POST"


class DispatchUnreadable(BridgeError):
    """No request can be built from a stored dispatch."""


@dataclass(frozen=True)
class DispatchRequest:
    """A `METHOD` request; `path` is below `repos/{repository}`, `body` is sent as JSON."""

    dispatch: DispatchMethod
    repository: str
    path: str
    body: Mapping[str, Any]


def build(
    dispatch: DispatchMethod,
    payload: str,
    *,
    repository: str,
    event_type: str,
    workflow: str | None = None,
    ref: str | None = None,
) -> DispatchRequest:
    """Build the request for a payload (JSON); `workflow` and `ref` are set for a workflow_dispatch.

    Raises `DispatchUnreadable` if the payload isn't what `bridge.core.payload` makes.
    """
    try:
        content = json.loads(payload)
        if dispatch is DispatchMethod.REPOSITORY:
            body = {"event_type": event_type, "client_payload": content}
            return DispatchRequest(dispatch, repository, "dispatches", body)
        body = {"ref": ref, "inputs": workflow_inputs(content, payload)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DispatchUnreadable(
            f"the stored dispatch can't be read ({type(error).__name__})", "replay the delivery"
        ) from error
    return DispatchRequest(dispatch, repository, f"actions/workflows/{workflow}/dispatches", body)
