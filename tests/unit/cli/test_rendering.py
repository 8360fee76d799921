import io
import json
from dataclasses import replace

from rich.console import Console

from bridge.cli import rendering
from bridge.cli.deliveries import newest, pause_of
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


def test_json_has_the_form_of_the_status_pages_answer() -> None:
    shown = rendering.as_dict(STORY)
    assert shown == api.delivery_answer(STORY).model_dump(mode="json")
    assert json.loads(json.dumps(shown))["dispatches"][0]["ended_at"] == "1970-01-01T00:01:00.250000Z"


def test_a_time_is_in_seconds_however_late_it_is() -> None:
    late = replace(STORY, delivery=replace(STORY.delivery, received_at=25_000_000_000.0))
    assert rendering.as_dict(late)["received_at"] == "2762-03-21T20:26:40Z"


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


def test_only_the_last_dispatches_are_followed_whatever_routes_there_were_before() -> None:
    before = tuple(replace(sending(number, route), created_at=1.0) for number, route in ((2, "b"), (1, "gone")))
    details = DeliveryDetails(STORY.delivery, (sending(4, "b"), sending(3, "a"), *before))
    assert [dispatch.id[-1] for dispatch in newest(details)] == ["4", "3"]
    assert newest(DeliveryDetails(STORY.delivery, ())) == []


def test_the_reason_for_a_pause_is_shown_while_a_dispatch_is_pending() -> None:
    reasons = {"github": "renew GITHUB_TOKEN"}
    assert pause_of([], reasons) is None
    assert "renew GITHUB_TOKEN" in (pause_of([sending(1, state=DispatchState.PENDING)], reasons) or "")
    assert pause_of([sending(1, state=DispatchState.RUNNING)], reasons) is None
