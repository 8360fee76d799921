"""The client_payload of a dispatch, schema 1, and the inputs that carry it by workflow_dispatch.

Sources of the limits: GitHub's REST API, "Create a repository dispatch event", and GitHub's "Events that trigger
workflows" for workflow_dispatch, which takes 65,535 characters of inputs too, and 25 of them (older servers 10).
"""

import json
from typing import Final

from bridge.core.errors import BridgeError
from bridge.core.events import Event
from bridge.core.routing import DispatchMethod, Route

MAX_EVENT_TYPE = 100
"""Characters."""

MAX_KEYS = 10
"""Keys at the top of client_payload."""

MAX_PAYLOAD = 65_535
"""Characters of client_payload, or of a workflow's inputs, as JSON."""


class PayloadTooLarge(BridgeError):
    """GitHub would not take the dispatch for its size."""


def make(event: Event, route: Route, *, dispatch_id: str, delivery_id: str) -> str:
    """Give the payload as ASCII JSON, within all of GitHub's limits; raises `PayloadTooLarge`."""
    payload = {
        "schema": 1,
        "dispatch_id": dispatch_id,
        "delivery_id": delivery_id,
        "event": event.kind.value,
        "model": {
            "name": event.model,
            "version": event.version,
            "alias": event.alias,
            "source": event.source,
            "run_id": event.run_id,
        },
        "inputs": dict(route.inputs),
    }
    text = _compact(payload)
    if route.dispatch is DispatchMethod.WORKFLOW:
        _check_length(_compact(workflow_inputs(text)))
    else:
        check(route.event_type, len(payload), text)
    return text


def workflow_inputs(text: str) -> dict[str, str]:
    """Give the inputs of a workflow_dispatch for this payload (JSON); there is no `alias` where the event has none."""
    model = json.loads(text)["model"]
    inputs = {"model": model["name"], "version": model["version"], "alias": model["alias"], "payload": text}
    return {name: value for name, value in inputs.items() if value is not None}


def check(event_type: str, keys: int, text: str) -> None:
    """Return only where GitHub takes a dispatch of this size; raises `PayloadTooLarge`."""
    if len(event_type) > MAX_EVENT_TYPE:
        raise PayloadTooLarge(
            f"the event type has {len(event_type)} characters and GitHub takes {MAX_EVENT_TYPE}: "
            "shorten GITHUB_EVENT_TYPE"
        )
    if keys > MAX_KEYS:
        raise PayloadTooLarge(f"the payload has {keys} keys at its top and GitHub takes {MAX_KEYS}: leave some out")
    _check_length(text)


def _check_length(text: str) -> None:
    if len(text) > MAX_PAYLOAD:
        raise PayloadTooLarge(
            f"the payload has {len(text)} characters and GitHub takes {MAX_PAYLOAD}: "
            "shorten the names of the model and alias, or the version's source"
        )


_compact: Final = json.JSONEncoder(separators=(",", ":")).encode
