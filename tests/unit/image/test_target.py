import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.errors import InvalidInput
from bridge.image.settings import ImageSettings
from bridge.image.target import Target


def payload(inputs: object = None, **model: object) -> str:
    return json.dumps({"schema": 1, "dispatch_id": "01J", "model": model, "inputs": inputs or {}})


def settings(**values: Any) -> ImageSettings:
    return ImageSettings(**values)


def test_the_payload_has_model_version_and_alias() -> None:
    text = payload(name="iris clf", version="7", alias="champion")
    assert Target.read(settings(payload=text)) == Target("iris clf", "7", "champion", "")


def test_in_a_manual_run_the_inputs_have_them() -> None:
    assert Target.read(settings(model="iris", alias="champion", smoke_test="ping")) == Target(
        "iris", "", "champion", "ping"
    )


def test_a_routes_smoke_test_comes_before_the_workflows() -> None:
    text = payload(inputs={"smoke-test": "off"}, name="iris", version="7")
    assert Target.read(settings(payload=text, smoke_test="invoke")).smoke_test == "off"


def test_a_routes_inputs_are_passed_on() -> None:
    inputs = {"builder": "layered", "base-image": "python:3", "platforms": "linux/amd64"}
    assert Target.read(settings(payload=payload(inputs=inputs, name="iris", version="7"))).inputs == inputs


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "model is missing"),
        ({"model": "a\0b", "version": "1"}, "NUL"),
        ({"model": "iris", "version": "7; rm -rf /"}, "not a number"),
        ({"model": "iris", "version": "٧"}, "not a number"),
        ({"model": "iris", "version": "1", "smoke_test": "maybe"}, "smoke-test"),
        ({"payload": "{"}, "payload"),
        ({"payload": "[]"}, "schema 1"),
        ({"payload": '{"schema": 2}'}, "schema 1"),
        ({"payload": '{"schema": 1, "model": ["iris"]}'}, "payload"),
        ({"payload": payload(name=["iris"], version="1")}, "model is missing"),
        ({"payload": payload(name="iris", version=1)}, "not a number"),
        ({"payload": payload(inputs={"force": "true"}, name="iris", version="1")}, "'force'"),
        ({"payload": payload(inputs={"runs-on": "mine"}, name="iris", version="1")}, "'runs-on'"),
        ({"payload": payload(inputs={"builder": ["x"]}, name="iris", version="1")}, "'builder'"),
        ({"payload": payload(inputs={"build-from-source": "true"}, name="i", version="1")}, "'build-from-source'"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(values: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named) as raised:
        Target.read(settings(**values))
    assert raised.value.hint


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_payload_is_read_or_refused_by_an_error_of_ours(value: object) -> None:
    for text in (json.dumps(value), json.dumps({"schema": 1, "model": value, "inputs": value})):
        try:
            target = Target.read(settings(payload=text))
        except BridgeError:
            continue
        assert target.model
        assert target.version == "" or target.version.isdecimal()
