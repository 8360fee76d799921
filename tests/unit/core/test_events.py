import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities.webhook import WebhookEvent
from mlflow.webhooks.types import EVENT_TO_PAYLOAD_CLASS, get_example_payload_for_event

from bridge.core.events import Event, EventKind, UnsupportedEvent, parse
from bridge.core.limits import MAX_NAME

VERSION = {"name": "iris clf", "version": "7", "source": "models:/m-1", "run_id": "r1", "tags": {}, "description": "d"}
ALIAS = {"name": "iris clf", "version": "7", "alias": "champion"}
TAG = {"name": "iris clf", "version": "7", "key": "stage", "value": "gold"}
DATA: dict[EventKind, dict[str, Any]] = {
    EventKind.VERSION_CREATED: VERSION,
    EventKind.ALIAS_CREATED: ALIAS,
    EventKind.TAG_SET: TAG,
}
NO_TEXT: list[object] = [None, "", 1, [], {}, [1], {"a": 1}, "a\x00b"]
MLFLOWS_KINDS = [WebhookEvent(entity, action) for entity, action in EVENT_TO_PAYLOAD_CLASS]


def body(kind: str, data: object, **more: object) -> bytes:
    entity, _, action = kind.partition(".")
    return json.dumps({"entity": entity, "action": action, "timestamp": "2026-01-01", "data": data, **more}).encode()


def test_each_kind_has_its_fields() -> None:
    assert parse(body("model_version.created", VERSION)) == Event(
        EventKind.VERSION_CREATED, "iris clf", "7", source="models:/m-1", run_id="r1"
    )
    assert parse(body("model_version_alias.created", ALIAS)) == Event(
        EventKind.ALIAS_CREATED, "iris clf", "7", alias="champion"
    )
    assert parse(body("model_version_tag.set", TAG)) == Event(EventKind.TAG_SET, "iris clf", "7", tag="stage")


@pytest.mark.parametrize("field", ["source", "run_id"])
@pytest.mark.parametrize("empty", [None, ""])
def test_a_source_or_run_that_is_empty_is_none(field: str, empty: str | None) -> None:
    assert getattr(parse(body("model_version.created", {**VERSION, field: empty})), field) is None


@pytest.mark.parametrize("event", MLFLOWS_KINDS, ids=str)
def test_mlflows_test_events_are_recognized_or_not_supported(event: WebhookEvent) -> None:
    sent = body(str(event), get_example_payload_for_event(event))
    if str(event) in set(EventKind):
        assert parse(sent).is_test
        assert parse(body(str(event), get_example_payload_for_event(event), workspace="team")).is_test
    else:
        with pytest.raises(UnsupportedEvent, match=r"model_version\.created"):
            parse(sent)


@pytest.mark.parametrize("kind", list(EventKind))
def test_an_event_that_differs_from_the_test_event_in_one_value_is_real(kind: EventKind) -> None:
    example: dict[str, Any] = dict(get_example_payload_for_event(WebhookEvent.from_str(kind.value)))
    for field in example:
        assert not parse(body(kind, {**example, field: "2"})).is_test


def test_a_workspace_is_kept_and_the_default_is_assumed() -> None:
    assert parse(body("model_version.created", VERSION)).workspace == "default"
    assert parse(body("model_version.created", VERSION, workspace=None)).workspace == "default"
    assert parse(body("model_version.created", VERSION, workspace="team-a")).workspace == "team-a"


@pytest.mark.parametrize("name", ["模型", "()", "a\nb", "x" * MAX_NAME, "../..", '"; drop'])
def test_any_name_that_mlflow_allows_is_unchanged(name: str) -> None:
    assert parse(body("model_version.created", {**VERSION, "name": name})).model == name


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (kind, field, value)
        for kind, data in DATA.items()
        for field in data
        if field in ("name", "version", "alias", "key")
        for value in NO_TEXT
    ]
    + [(EventKind.VERSION_CREATED, "version", value) for value in ("0", "-1", "1.0", "latest", "1\n", "١", "1" * 19)]
    + [
        (EventKind.VERSION_CREATED, field, value)
        for field in ("source", "run_id")
        for value in NO_TEXT
        if value and value != "a\x00b"
    ],
)
def test_an_invalid_field_is_named(kind: EventKind, field: str, value: object) -> None:
    with pytest.raises(UnsupportedEvent, match=rf"\({field}: "):
        parse(body(kind, {**DATA[kind], field: value}))


@pytest.mark.parametrize(("kind", "field"), [(EventKind.VERSION_CREATED, "name"), (EventKind.ALIAS_CREATED, "alias")])
@pytest.mark.parametrize("name", ["x" * (MAX_NAME + 1), "é" * (MAX_NAME // 2 + 1)])
def test_a_name_that_is_too_long_for_the_index_is_refused(kind: EventKind, field: str, name: str) -> None:
    with pytest.raises(UnsupportedEvent, match=rf"\({field}: it is longer than "):
        parse(body(kind, {**DATA[kind], field: name}))


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"entity": "\\ud800", "action": "created", "data": {}}',
        b'{"entity": 1, "action": "created", "data": {}}',
        body("model_version.created", None),
        body("model_version.created", []),
        body("model_version.created", {}),
        body("model_version.created", VERSION, workspace=7),
        body("model_version.deleted", VERSION),
        body("MODEL_VERSION.created", VERSION),
        body("model_version.created", VERSION)[:-1],
        body("model_version.created", VERSION) + b"x",
        b'{"entity": "model_version", "action": "created", "data": {"name": "\\ud800", "version": "1"}}',
    ],
)
def test_anything_but_an_event_is_refused(hostile: bytes) -> None:
    with pytest.raises(UnsupportedEvent):
        parse(hostile)


def test_a_refusal_never_repeats_what_was_sent() -> None:
    with pytest.raises(UnsupportedEvent) as refused:
        parse(body("model_version.created", {**VERSION, "version": "SENTINEL"}))
    assert "SENTINEL" not in str(refused.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary())
def test_no_bytes_raise_anything_but_our_error(raw: bytes) -> None:
    with pytest.raises(UnsupportedEvent):
        parse(raw)


@given(
    st.sampled_from(list(EventKind)),
    st.dictionaries(st.sampled_from(["name", "version", "alias", "key", "source", "run_id", "tags"]), anything),
    anything,
)
def test_no_json_raises_anything_but_our_error(kind: EventKind, data: dict[str, object], workspace: object) -> None:
    sent = body(kind, {**DATA[kind], **data}, workspace=workspace)
    try:
        event = parse(sent)
    except UnsupportedEvent:
        return
    assert event.model
    assert event.version.isdecimal()


@pytest.mark.parametrize("field", ["source", "run_id"])
def test_texts_other_than_names_are_cleaned(field: str) -> None:
    event = parse(body("model_version.created", {**VERSION, field: "a\0\x1b\nb" + "x" * 100_000}))
    text = getattr(event, field)
    assert text.startswith("a\ufffd\ufffd bx")
    assert len(text) < 5_000


@pytest.mark.parametrize("tag", ["image\0", "x" * (MAX_NAME + 1)])
def test_an_invalid_tag_key_is_refused_rather_than_cleaned(tag: str) -> None:
    with pytest.raises(UnsupportedEvent):
        parse(body("model_version_tag.set", {**TAG, "key": tag}))
