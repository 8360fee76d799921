import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.events import Event, EventKind
from bridge.core.limits import MAX_PAYLOAD, MAX_PAYLOAD_KEYS
from bridge.core.payload import PayloadTooLarge, make, workflow_inputs
from bridge.core.routing import DispatchMethod, Route

ROUTE = Route("environment", "owner/models", "mlflow-model-version")
BY_WORKFLOW = replace(ROUTE, dispatch=DispatchMethod.WORKFLOW, workflow="on-mlflow-event.yml", ref="main")
IDS = {"dispatch_id": "01J0000000000000000000000A", "delivery_id": "8f08b1de-4c1b-4f2e-9c1a-0123456789ab"}


def inputs(text: str) -> dict[str, str]:
    return workflow_inputs(json.loads(text), text)


def test_a_versions_payload_is_schema_1() -> None:
    event = Event(EventKind.VERSION_CREATED, "iris clf", "7", source="models:/m-1", run_id="r1")
    assert json.loads(make(event, ROUTE, **IDS)) == {
        "schema": 1,
        "dispatch_id": IDS["dispatch_id"],
        "delivery_id": IDS["delivery_id"],
        "event": "model_version.created",
        "model": {"name": "iris clf", "version": "7", "alias": None, "source": "models:/m-1", "run_id": "r1"},
        "inputs": {},
    }


def test_an_aliases_payload_has_the_alias_and_the_routes_inputs() -> None:
    route = replace(ROUTE, inputs={"base-image": "python:3.12-slim"})
    payload = json.loads(make(Event(EventKind.ALIAS_CREATED, "模型", "7", alias="champion"), route, **IDS))
    assert payload["event"] == "model_version_alias.created"
    assert payload["model"] == {"name": "模型", "version": "7", "alias": "champion", "source": None, "run_id": None}
    assert payload["inputs"] == {"base-image": "python:3.12-slim"}


def test_a_payload_has_at_most_65535_characters() -> None:
    spare = MAX_PAYLOAD - len(make(Event(EventKind.VERSION_CREATED, "", "1"), ROUTE, **IDS))
    assert len(make(Event(EventKind.VERSION_CREATED, "x" * spare, "1"), ROUTE, **IDS)) == MAX_PAYLOAD
    with pytest.raises(PayloadTooLarge, match="65536 characters"):
        make(Event(EventKind.VERSION_CREATED, "x" * (spare + 1), "1"), ROUTE, **IDS)


@given(st.text(min_size=1), st.none() | st.text())
def test_any_name_comes_back_as_it_was_in_ascii_json(name: str, source: str | None) -> None:
    text = make(Event(EventKind.VERSION_CREATED, name, "1", source=source), ROUTE, **IDS)
    assert text.isascii()
    assert json.loads(text)["model"]["name"] == name
    assert len(json.loads(text)) <= MAX_PAYLOAD_KEYS


def test_a_workflow_dispatch_carries_the_payload_in_one_of_four_inputs() -> None:
    text = make(Event(EventKind.ALIAS_CREATED, "模型", "7", alias="champion"), BY_WORKFLOW, **IDS)
    assert text == make(Event(EventKind.ALIAS_CREATED, "模型", "7", alias="champion"), ROUTE, **IDS)
    assert inputs(text) == {"model": "模型", "version": "7", "alias": "champion", "payload": text}


def test_a_versions_inputs_have_no_alias() -> None:
    assert set(inputs(make(Event(EventKind.VERSION_CREATED, "iris", "7"), BY_WORKFLOW, **IDS))) == {
        "model",
        "version",
        "payload",
    }


def test_the_inputs_are_those_that_the_workflow_declares() -> None:
    workflow = Path(__file__).parents[3] / ".github/workflows/on-mlflow-event.yml"
    declared = yaml.safe_load(workflow.read_text(encoding="utf-8"))[True]["workflow_dispatch"]["inputs"]
    text = make(Event(EventKind.ALIAS_CREATED, "iris", "7", alias="champion"), BY_WORKFLOW, **IDS)
    assert set(inputs(text)) <= set(declared)


def test_the_inputs_have_at_most_65535_characters_with_the_payload_quoted_again() -> None:
    def length(name: str) -> int:
        return len(json.dumps(inputs(make(Event(EventKind.VERSION_CREATED, name, "1"), BY_WORKFLOW, **IDS))))

    spaces = 2 * 3 - 1  # json.dumps puts them behind : and , and what goes out has none
    longest = "x" * ((MAX_PAYLOAD + spaces - length("")) // 2)
    assert MAX_PAYLOAD - 1 <= length(longest) - spaces <= MAX_PAYLOAD
    with pytest.raises(PayloadTooLarge, match="65535"):
        length(longest + "x")
    make(Event(EventKind.VERSION_CREATED, longest + "x", "1"), ROUTE, **IDS)
