"""Deliveries as the commands show them: as JSON in the form of `/api/deliveries`, and as tables."""

from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from bridge.core.events import Event
from bridge.ledger import DeliveryDetails, DispatchState
from bridge.server import formatting

_COLOURS: Final = {"good": "green", "bad": "red", "warning": "yellow", "going": "cyan"}


def as_dict(details: DeliveryDetails) -> dict[str, Any]:
    """Return the delivery and its dispatches, newest first, as values for JSON."""
    from bridge.server.api import delivery_answer  # FastAPI, which only JSON output needs, is slow to import

    return delivery_answer(details).model_dump(mode="json")


def table(deliveries: Iterable[DeliveryDetails]) -> Table:
    """Return a table with a row for each delivery, which has the state of its last dispatch."""
    rows = Table(Column("delivery", no_wrap=True, min_width=36), "received", "event", "state", "run or reason")
    for details in deliveries:
        newest = details.dispatches[0] if details.dispatches else None
        state = coloured(newest.state) if newest else Text("–")
        outcome = (newest.run_url or newest.reason or "") if newest else ""
        received = formatting.moment(details.delivery.received_at)
        rows.add_row(details.delivery.id, received, subject(details.delivery.event), state, Text(outcome))
    return rows


def show(console: Console, details: DeliveryDetails) -> None:
    """Print the delivery with its dispatches and GitHub's answers."""
    event = details.delivery.event
    console.print(f"{event.kind.value}: {subject(event)}")
    console.print(f"delivery {details.delivery.id}, received {formatting.moment(details.delivery.received_at)}")
    for dispatch in details.dispatches:
        heading = f"\ndispatch {dispatch.id} to {dispatch.repository} via route {dispatch.route}: "
        console.print(heading, coloured(dispatch.state), sep="")
        console.print(f"  {formatting.MEANINGS[dispatch.state].sentence}")
        for line in (dispatch.reason, dispatch.run_url):
            if line:
                console.print(f"  {line}", soft_wrap=True)
        for attempt in dispatch.answers:
            last = formatting.moment(attempt.last_at)
            repeated = f" ({attempt.times} times, until {last})" if attempt.times > 1 else ""
            line = f"{formatting.moment(attempt.first_at)}: {attempt.outcome}: {attempt.answer}{repeated}"
            console.print(f"  {line}", soft_wrap=True)


def subject(event: Event) -> str:
    """Return the model, version, and alias or tag; control characters in names are shown as symbols."""
    labels = (("alias", event.alias), ("tag", event.tag))
    details = [f"{label} {formatting.name(text)}" for label, text in labels if text]
    return ", ".join([f"{formatting.name(event.model)} {event.version}", *details])


def coloured(state: DispatchState) -> Text:
    """Return the state with its symbol."""
    meaning = formatting.MEANINGS[state]
    return Text(f"{meaning.sign} {state.value}", style=_COLOURS.get(meaning.family, ""))
