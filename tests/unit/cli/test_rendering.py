import io
from dataclasses import replace

from rich.console import Console

from bridge.cli import following, rendering
from bridge.core.events import Event, EventKind
from bridge.core.routing import DispatchMethod
from bridge.ledger import Attempt, Delivery, DeliveryDetails, DispatchDetails, DispatchState
from bridge.server import api


def sending(number: int, route: str = "r", state: DispatchState = DispatchState.FAILED) -> DispatchDetails:
    answers = (
        Attempt(10.0, 20.0, 3, "paused", "GitHub refuses (401)"),
        Attempt(30.0, 30.0, 1, "taken", "GitHub took it"),
    )
    run = "https://github.com/owner/models/actions/runs/1"
    return DispatchDetails(
        f"01J{number:023}",
        "d-1",
        route,
        "owner/models",
        "type",
        DispatchMethod.REPOSITORY,
        None,
        None,
        state,
        "the run failed",
        1,
        run,
        5.5,
        5.5,
        30.0,
        None,
        60.25,
        answers,
    )


STORY = DeliveryDetails(
    Delivery("d-1", Event(EventKind.ALIAS_CREATED, "a\x1b[31m\nb", "7", "champion"), 5.25),
    (sending(2), sending(1)),
)


def test_json_is_of_the_same_form_as_the_status_pages_own() -> None:
    theirs = api._delivery(STORY).model_dump(mode="json")
    assert rendering.as_dict(STORY) == theirs


def test_a_name_moves_no_terminals_cursor() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    console.print(rendering.table([STORY]))
    rendering.show(console, STORY)
    assert "\x1b" not in out.getvalue()
    assert "a␛[31m␊b 7, alias champion" in out.getvalue()


def test_a_delivery_is_shown_with_each_answer_of_githubs() -> None:
    out = io.StringIO()
    rendering.show(Console(file=out, width=60), STORY)
    shown = out.getvalue()
    assert "1970-01-01 00:00:10 UTC: paused: GitHub refuses (401) (3 times, until 1970-01-01 00:00:20 UTC)" in shown
    assert shown.count("https://github.com/owner/models/actions/runs/1\n") == 2


def test_only_what_was_sent_last_is_followed_by_whatever_routes_there_were_before() -> None:
    before = tuple(replace(sending(number, route), created_at=1.0) for number, route in ((2, "b"), (1, "gone")))
    story = DeliveryDetails(STORY.delivery, (sending(4, "b"), sending(3, "a"), *before))
    assert [one.id[-1] for one in following.newest(story)] == ["4", "3"]
    assert following.newest(DeliveryDetails(STORY.delivery, ())) == []


def test_why_nothing_is_sent_is_told_while_something_waits_to_be() -> None:
    paused = {"github": "renew GITHUB_TOKEN"}
    assert following._waiting([], paused) == "waiting for the delivery"
    assert following._waiting([sending(1, state=DispatchState.PENDING)], paused).endswith(
        "just now: renew GITHUB_TOKEN"
    )
    assert following._waiting([sending(1, state=DispatchState.RUNNING)], paused) == "owner/models: running"
