from dataclasses import replace

import pytest

from bridge.core.events import Event, EventKind
from bridge.core.routing import Route, match, unroutable_reason

ROUTE = Route("environment", "owner/models", "mlflow-model-version")
EVERYTHING = replace(ROUTE, name="everything", kinds=frozenset(EventKind))
VERSION = Event(EventKind.VERSION_CREATED, "iris", "1")
ALIAS = Event(EventKind.ALIAS_CREATED, "iris", "1", alias="champion")
TAG = Event(EventKind.TAG_SET, "iris", "1", tag="stage")


@pytest.mark.parametrize("event", [VERSION, ALIAS])
def test_versions_and_aliases_match_by_default(event: Event) -> None:
    assert match(event, [ROUTE]) == (ROUTE,)


def test_tags_match_only_routes_that_name_them() -> None:
    assert match(TAG, [ROUTE]) == ()
    assert match(TAG, [ROUTE, EVERYTHING]) == (EVERYTHING,)


@pytest.mark.parametrize("tag", ["image.uri", "image.status", "image.run_url", "image."])
def test_tags_that_our_runs_write_match_no_route(tag: str) -> None:
    assert match(replace(TAG, tag=tag), [EVERYTHING]) == ()


@pytest.mark.parametrize("event", [VERSION, ALIAS, TAG])
def test_test_events_and_other_workspaces_match_no_route(event: Event) -> None:
    assert match(replace(event, is_test=True), [EVERYTHING]) == ()
    assert match(replace(event, workspace="team-a"), [EVERYTHING]) == ()


def test_all_matching_routes_are_returned_in_order() -> None:
    assert match(VERSION, [EVERYTHING, ROUTE]) == (EVERYTHING, ROUTE)
    assert match(VERSION, []) == ()


@pytest.mark.parametrize(
    ("glob", "model", "fits"),
    [
        ("iris", "iris", True),
        ("iris", "iris2", False),
        ("iris*", "iris", True),
        ("iris-?", "iris-2", True),
        ("iris-[ab]", "iris-c", False),
        ("Iris", "iris", False),
        ("team/*", "team/a\nb/模型", True),
        ("*", "()", True),
    ],
)
def test_a_glob_matches_the_whole_name_with_case(glob: str, model: str, fits: bool) -> None:
    assert bool(match(replace(VERSION, model=model), [replace(ROUTE, model=glob)])) == fits


def test_an_alias_glob_matches_only_events_with_an_alias() -> None:
    route = replace(EVERYTHING, alias="champ*")
    assert match(ALIAS, [route]) == (route,)
    assert match(replace(ALIAS, alias="challenger"), [route]) == ()
    assert match(VERSION, [route]) == ()
    assert match(TAG, [route]) == ()


def test_a_tag_glob_matches_only_events_with_a_tag() -> None:
    route = replace(EVERYTHING, tag="st*")
    assert match(TAG, [route]) == (route,)
    assert match(replace(TAG, tag="owner"), [route]) == ()
    assert match(VERSION, [route]) == ()


def test_every_condition_of_a_route_must_hold() -> None:
    assert match(ALIAS, [replace(EVERYTHING, model="iris", alias="champion")])
    assert not match(ALIAS, [replace(EVERYTHING, model="wine", alias="champion")])
    assert not match(ALIAS, [replace(ROUTE, kinds=frozenset({EventKind.VERSION_CREATED}), alias="champion")])


def test_an_event_that_is_never_dispatched_has_a_reason() -> None:
    assert unroutable_reason(VERSION) is None
    assert "test" in str(unroutable_reason(replace(VERSION, is_test=True)))
    assert "workspace" in str(unroutable_reason(replace(VERSION, workspace="team-a")))
    assert "image." in str(unroutable_reason(replace(TAG, tag="image.uri")))
