from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import missed_events
from bridge.core.events import Event, EventKind, UnsupportedEvent
from bridge.core.missed_events import OVERLAP, AliasChange, BookmarkUnreadable, Watermark

NOW = 1_700_000_000.0


def test_a_search_overlaps_the_one_before_the_last_but_not_the_floor() -> None:
    first = Watermark.baseline(NOW)
    assert first.begin == NOW
    second = first.after(NOW + 10 * OVERLAP)
    assert second.begin == NOW
    third = second.after(NOW + 11 * OVERLAP)
    assert third.begin == NOW + 9 * OVERLAP


def test_a_search_without_newer_versions_moves_nothing_back() -> None:
    seen = Watermark.baseline(NOW).after(NOW + 10 * OVERLAP)
    assert seen.after(NOW) == Watermark(floor=NOW, reached=NOW + 10 * OVERLAP, seen=NOW + 10 * OVERLAP)


def test_a_watermark_is_read_as_it_was_written() -> None:
    watermark = Watermark(1.5, 2.25, 3.125)
    assert Watermark.read(watermark.write()) == watermark


@pytest.mark.parametrize("text", ["", "{}", "[]", "1", '{"floor": 1, "reached": "x", "seen": 3}'])
def test_a_watermark_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(BookmarkUnreadable, match="bookmark"):
        Watermark.read(text)


@pytest.mark.parametrize("text", ["", "[]", "1", '{"a": 1}', '{"a": null}'])
def test_a_mapping_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(BookmarkUnreadable, match="bookmark"):
        missed_events.read_aliases(text)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
maps = st.dictionaries(names, st.dictionaries(names, st.integers(1, 9).map(str), max_size=4), max_size=4)


@given(maps)
def test_a_mapping_is_read_as_it_was_written(aliases: dict[str, dict[str, str]]) -> None:
    assert missed_events.read_aliases(missed_events.write_aliases(aliases)) == aliases


@given(maps, maps)
def test_applied_changes_are_no_changes_any_more(
    last: dict[str, dict[str, str]], now: dict[str, dict[str, str]]
) -> None:
    changes = missed_events.changed_aliases(last, now)
    after = missed_events.apply_changes(last, changes)
    assert missed_events.changed_aliases(after, now) == []
    assert all(after[change.model][change.alias] == change.version for change in changes)
    assert {model for model, aliases in after.items() if aliases} >= {m for m in last if last[m]}


def test_moved_and_new_aliases_are_changes_and_deleted_ones_are_not() -> None:
    last = {"iris": {"champion": "1", "old": "1", "same": "1"}, "gone": {"a": "1"}}
    now = {"iris": {"champion": "2", "same": "1"}, "new": {"a": "1"}, "none": {}}
    assert missed_events.changed_aliases(last, now) == [
        AliasChange("iris", "champion", "2"),
        AliasChange("new", "a", "1"),
    ]


def test_an_alias_that_returns_to_its_version_is_unchanged() -> None:
    last = {"iris": {"champion": "1"}}
    assert (
        missed_events.changed_aliases(
            missed_events.apply_changes(last, missed_events.changed_aliases(last, {})), {"iris": {"champion": "1"}}
        )
        == []
    )


def test_events_are_those_that_mlflow_would_have_sent() -> None:
    assert missed_events.version_event("模型\n(EU)", "7", "models:/m-1", None) == Event(
        EventKind.VERSION_CREATED, "模型\n(EU)", "7", source="models:/m-1"
    )
    assert missed_events.alias_event(AliasChange("iris", "champion", "7")) == Event(
        EventKind.ALIAS_CREATED, "iris", "7", alias="champion"
    )


@pytest.mark.parametrize(("model", "version"), [("", "1"), ("a\x00b", "1"), ("iris", "0"), ("iris", "latest")])
def test_an_event_that_a_delivery_could_not_have_is_refused(model: str, version: str) -> None:
    with pytest.raises(UnsupportedEvent):
        missed_events.version_event(model, version, None, None)
    with pytest.raises(UnsupportedEvent):
        missed_events.alias_event(AliasChange(model, "champion", version))


def test_equal_events_have_the_same_delivery_id_and_others_another() -> None:
    version = missed_events.version_delivery_id
    ids = [
        version("iris", "1", 1000),
        version("iris", "1", 1001),
        version("iris", "2", 1000),
        version("iris2", "1", 1000),
        missed_events.alias_delivery_id(AliasChange("iris", "a", "1"), None),
        missed_events.alias_delivery_id(AliasChange("iris", "a", "1"), "d1"),
        missed_events.alias_delivery_id(AliasChange("iris", "a1", "1"), None),
        missed_events.alias_delivery_id(AliasChange("iris", "a", "2"), None),
    ]
    assert len({UUID(delivery_id) for delivery_id in ids}) == len(ids)
    assert version("iris", "1", 1000) == ids[0]
    # What an upgrade must not change: ids are in people's ledgers.
    assert version("iris", "7", 1_700_000_000_000) == "648a659f-216a-5e25-acba-54f26dfd00af"


def test_ids_of_ambiguous_names_differ() -> None:
    one = missed_events.alias_delivery_id(AliasChange('a", "b', "c", "1"), None)
    assert one != missed_events.alias_delivery_id(AliasChange("a", 'b", "c', "1"), None)
