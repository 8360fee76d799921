from typing import Any

import pytest

from bridge.github.workflow_file import Input
from tests.loopback.github.bodies import repository_dispatch, workflow_dispatch
from tests.loopback.github.gate import ApiError

INPUTS = {
    "model": Input("string", True, "", ()),
    "version": Input("string", True, "1", ()),
    "force": Input("boolean", False, "false", ()),
    "test": Input("choice", False, "ping", ("off", "ping")),
}


def test_the_largest_event_that_github_takes_is_taken() -> None:
    padding = "x" * (65_535 - len('{"a":""}'))
    body = {"event_type": "t" * 100, "client_payload": {"a": padding}}
    assert repository_dispatch(body) == ("t" * 100, {"a": padding})
    assert repository_dispatch({"event_type": "t", "client_payload": {str(key): key for key in range(10)}})
    assert repository_dispatch({"event_type": "t"}) == ("t", {})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, 'Invalid request.\n\n"event_type" wasn\'t supplied.'),
        ({"event_type": 7}, "7 is not a string"),
        ({"event_type": "t" * 101}, "101 characters"),
        ({"event_type": ""}, "0 characters"),
        ({"event_type": "t", "client_payload": [1]}, "is not an object"),
        (
            {"event_type": "t", "client_payload": {str(key): key for key in range(11)}},
            "Invalid request.\n\nNo more than 10 properties are allowed; 11 were supplied.",
        ),
        ({"event_type": "t", "client_payload": {"a": "x" * 65_528}}, "client_payload is too large."),
    ],
)
def test_an_event_past_githubs_limits_is_unprocessable(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as refused:
        repository_dispatch(body)
    assert refused.value.status == 422
    assert message in refused.value.body["message"]


def test_characters_count_and_not_bytes() -> None:
    assert repository_dispatch({"event_type": "模" * 100, "client_payload": {"a": "模" * 60_000}})


def test_missing_inputs_get_their_defaults_and_others_become_strings() -> None:
    given = {"ref": "refs/heads/main", "inputs": {"model": "m", "force": True}}
    assert workflow_dispatch(given, INPUTS, "main") == {"model": "m", "version": "1", "force": "true", "test": "ping"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, '"ref" wasn\'t supplied'),
        ({"ref": "other", "inputs": {"model": "m"}}, "No ref found for: other"),
        ({"ref": "main", "inputs": {"model": "m", "extra": 1}}, 'Unexpected inputs provided: ["extra"]'),
        ({"ref": "main", "inputs": ["model"]}, "is not an object"),
        ({"ref": "main"}, "Required input 'model' not provided"),
        ({"ref": "main", "inputs": {"model": "m", "test": "x"}}, "not in the list of allowed values"),
        ({"ref": "main", "inputs": {"model": "m" * 65_535}}, "too large"),
    ],
)
def test_inputs_that_do_not_fit_are_unprocessable(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as refused:
        workflow_dispatch(body, INPUTS, "main")
    assert refused.value.status == 422
    assert message in refused.value.body["message"]
