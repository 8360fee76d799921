"""What would go out for an event, without anything going out: the requests that GitHub would get."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bridge.core import events, payload, routing
from bridge.core.errors import BridgeError
from bridge.core.events import Event
from bridge.core.routing import DispatchMethod, Route
from bridge.settings import load_routes

_DISPATCH_ID: Final = "0" * 26
_DELIVERY_ID: Final = "00000000-0000-0000-0000-000000000000"
"""They stand for those that a real delivery brings."""


@dataclass(frozen=True)
class Request:
    """A request that would go to GitHub's API: the path and the JSON of its body."""

    route: Route
    path: str
    body: dict[str, Any]


def requests(event: Event, routes: Iterable[Route]) -> tuple[Request, ...]:
    """Give the requests for the event, one for each route that wants it; raises `PayloadTooLarge`."""
    return tuple(_request(event, route) for route in routing.match(event, routes))


def show(body: bytes, file: Path | None, *, as_json: bool) -> int:
    """Print what would go out for the event in `body`, by the routes in `file` or those of the settings.

    Gives the exit status: 0, 1 where nothing would go out, 2 where event or routes are wrong.
    """
    try:
        routes = load_routes(file)
        event = events.parse(body)
        found = requests(event, routes)
    except BridgeError as error:
        print(error, file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps([_as_json(request) for request in found], indent=2))
    else:
        _print(event, found, len(routes))
    return 0 if found else 1


def _request(event: Event, route: Route) -> Request:
    text = payload.make(event, route, dispatch_id=_DISPATCH_ID, delivery_id=_DELIVERY_ID)
    if route.dispatch is DispatchMethod.WORKFLOW:
        path = f"/repos/{route.repository}/actions/workflows/{route.workflow}/dispatches"
        return Request(route, path, {"ref": route.ref, "inputs": payload.workflow_inputs(text)})
    body = {"event_type": route.event_type, "client_payload": json.loads(text)}
    return Request(route, f"/repos/{route.repository}/dispatches", body)


def _as_json(request: Request) -> dict[str, Any]:
    return {"route": request.route.name, "method": "POST", "path": request.path, "body": request.body}


def _print(event: Event, found: Sequence[Request], routes: int) -> None:
    console = Console(markup=False, emoji=False, highlight=False)
    subject = [f"model {event.model!r} version {event.version}"]
    subject += [f"{name} {text!r}" for name, text in (("alias", event.alias), ("tag", event.tag)) if text is not None]
    console.print(f"{event.kind}: {', '.join(subject)}")
    if not found:
        console.print(f"nothing goes out: {routing.unroutable_reason(event) or f'none of {routes} routes wants it'}")
        return
    table = Table("route", "repository", "goes as", "inputs")
    for request in found:
        table.add_row(request.route.name, request.route.repository, _way(request.route), _inputs(request.route))
    console.print(table)


def _way(route: Route) -> str:
    if route.dispatch is DispatchMethod.WORKFLOW:
        return f"{route.dispatch} {route.workflow} on {route.ref}"
    return f"{route.dispatch} {route.event_type}"


def _inputs(route: Route) -> str:
    return "\n".join(f"{name}={value}" for name, value in route.inputs.items()) or "–"
