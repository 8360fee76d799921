"""The client_payload of a dispatch, schema 1, and the inputs that carry it in a workflow_dispatch."""

import json
from collections.abc import Mapping
from typing import Any, Final

from bridge.core.errors import BridgeError
from bridge.core.events import Event
from bridge.core.limits import MAX_PAYLOAD
from bridge.core.routing import DispatchMethod, Route


class PayloadTooLarge(BridgeError):
    """GitHub would reject the dispatch because of its size."""


def make(event: Event, route: Route, *, dispatch_id: str, delivery_id: str) -> str:
    """Return the payload as ASCII JSON, within GitHub's limits; raises `PayloadTooLarge`."""
    payload: dict[str, Any] = {
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
    # GitHub counts all inputs of a workflow_dispatch, in which the payload is quoted once more.
    sent = _compact(workflow_inputs(payload, text)) if route.dispatch is DispatchMethod.WORKFLOW else text
    if len(sent) > MAX_PAYLOAD:
        raise PayloadTooLarge(
            f"the payload has {len(sent)} characters, but GitHub accepts at most {MAX_PAYLOAD}",
            "shorten the name of the model or alias, or the version's source",
        )
    return text


def workflow_inputs(payload: Mapping[str, Any], text: str) -> dict[str, str]:
    """Return the inputs of a workflow_dispatch for a payload and its JSON; without `alias` if the event has none."""
    model = payload["model"]
    inputs = {"model": model["name"], "version": model["version"], "alias": model["alias"], "payload": text}
    return {name: value for name, value in inputs.items() if value is not None}


_compact: Final = json.JSONEncoder(separators=(",", ":")).encode
