"""Deliveries as the commands tell of them: as JSON of the same form as `/api/deliveries`, and as tables."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from bridge.core.events import Event
from bridge.ledger import DeliveryDetails, DispatchDetails, DispatchState
from bridge.server import formatting

_COLOURS: Final = {"good": "green", "bad": "red", "warning": "yellow", "going": "cyan"}


def as_dict(story: DeliveryDetails) -> dict[str, Any]:
    """Give the delivery with all that was sent for it, newest first."""
    event = story.delivery.event
    return {
        "id": story.delivery.id,
        "event": event.kind.value,
        "model": event.model,
        "version": event.version,
        "alias": event.alias,
        "tag": event.tag,
        "received_at": _time(story.delivery.received_at),
        "dispatches": [_sending(one) for one in story.sent],
    }


def _sending(one: DispatchDetails) -> dict[str, Any]:
    plain = {name: getattr(one, name) for name in ("id", "route", "repository", "reason", "run_id", "run_url")}
    times = {name: _time(getattr(one, name)) for name in ("created_at", "sent_at", "started_at", "ended_at")}
    attempts = [
        {
            "first_at": _time(each.first_at),
            "last_at": _time(each.last_at),
            "times": each.times,
            "outcome": each.outcome,
            "answer": each.answer,
        }
        for each in one.answers
    ]
    return {**plain, "state": one.state.value, **times, "attempts": attempts}


def table(stories: Iterable[DeliveryDetails]) -> Table:
    """Give a table of a row for each delivery, with the state of what was last sent for it."""
    found = Table(Column("delivery", no_wrap=True, min_width=36), "received", "what", "state", "run, or why not")
    for story in stories:
        newest = story.sent[0] if story.sent else None
        state = coloured(newest.state) if newest else Text("–")
        why = (newest.run_url or newest.reason or "") if newest else ""
        received = formatting.moment(story.delivery.received_at)
        found.add_row(story.delivery.id, received, subject(story.delivery.event), state, Text(why))
    return found


def show(console: Console, story: DeliveryDetails) -> None:
    """Print the delivery with everything that became of it."""
    event = story.delivery.event
    console.print(f"{event.kind.value}: {subject(event)}")
    console.print(f"delivery {story.delivery.id}, received {formatting.moment(story.delivery.received_at)}")
    for one in story.sent:
        console.print(f"\ndispatch {one.id} to {one.repository} by route {one.route}: ", coloured(one.state), sep="")
        console.print(f"  {formatting.MEANINGS[one.state].sentence}")
        for said in (one.reason, one.run_url):
            if said:
                console.print(f"  {said}", soft_wrap=True)
        for each in one.answers:
            times = f" ({each.times} times, until {formatting.moment(each.last_at)})" if each.times > 1 else ""
            console.print(f"  {formatting.moment(each.first_at)}: {each.outcome}: {each.answer}{times}", soft_wrap=True)


def subject(event: Event) -> str:
    """Give what the event is about; control characters in names are shown as pictures."""
    more = [f"{word} {formatting.name(text)}" for word, text in (("alias", event.alias), ("tag", event.tag)) if text]
    return ", ".join([f"{formatting.name(event.model)} {event.version}", *more])


def coloured(state: DispatchState) -> Text:
    """Give the state with its sign."""
    meaning = formatting.MEANINGS[state]
    return Text(f"{meaning.sign} {state.value}", style=_COLOURS.get(meaning.family, ""))


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
