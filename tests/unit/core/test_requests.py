import json

import pytest

from bridge.core.events import Event, EventKind
from bridge.core.payload import make
from bridge.core.requests import DispatchRequest, DispatchUnreadable, build
from bridge.core.routing import DispatchMethod, Route

ROUTE = Route("environment", "owner/models", "type", inputs={"smoke-test": "ping"})
PAYLOAD = make(Event(EventKind.VERSION_CREATED, "模", "7"), ROUTE, dispatch_id="1", delivery_id="2")


def test_a_repository_dispatch_has_the_payload_as_client_payload() -> None:
    assert build(DispatchMethod.REPOSITORY, PAYLOAD, repository="owner/models", event_type="type") == DispatchRequest(
        DispatchMethod.REPOSITORY,
        "owner/models",
        "dispatches",
        {"event_type": "type", "client_payload": json.loads(PAYLOAD)},
    )


def test_a_workflow_dispatch_has_the_payload_among_its_inputs() -> None:
    built = build(
        DispatchMethod.WORKFLOW, PAYLOAD, repository="owner/models", event_type="", workflow="a.yml", ref="main"
    )
    assert built == DispatchRequest(
        DispatchMethod.WORKFLOW,
        "owner/models",
        "actions/workflows/a.yml/dispatches",
        {"ref": "main", "inputs": {"model": "模", "version": "7", "payload": PAYLOAD}},
    )


@pytest.mark.parametrize("dispatch", list(DispatchMethod))
@pytest.mark.parametrize("payload", ["", "{", "[" * 100_000])
def test_a_payload_that_is_not_json_is_unreadable(dispatch: DispatchMethod, payload: str) -> None:
    with pytest.raises(DispatchUnreadable):
        build(dispatch, payload, repository="owner/models", event_type="type")


@pytest.mark.parametrize("payload", ["1", "{}", '{"model": 1}', '{"model": {"name": "a"}}'])
def test_a_workflow_dispatch_without_its_model_is_unreadable(payload: str) -> None:
    with pytest.raises(DispatchUnreadable):
        build(DispatchMethod.WORKFLOW, payload, repository="owner/models", event_type="", workflow="a.yml", ref="main")
