"""`routes check`: the requests that GitHub would get for an event. Nothing is sent."""

import json
import sys
from pathlib import Path
from typing import Final

from rich.table import Table

from bridge.cli.output import console
from bridge.core import events, payload, requests, routing
from bridge.core.errors import BridgeError
from bridge.core.events import Event
from bridge.core.requests import DispatchRequest
from bridge.core.routing import DispatchMethod, Route
from bridge.settings import load_routes

_DISPATCH_ID: Final = "0" * 26
_DELIVERY_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Placeholders for the ids of a real delivery."""


def show(body: bytes, file: Path | None, *, as_json: bool) -> int:
    """Print the requests for the event in `body`, by the routes in `file` or those of the settings.

    Returns the exit status: 0, 1 if nothing would be dispatched, 2 if the event or the routes are invalid.
    """
    try:
        routes = load_routes(file)
        event = events.parse(body)
        dispatches = [(route, _request(event, route)) for route in routing.match(event, routes)]
    except BridgeError as error:
        print(error, file=sys.stderr)
        return 2
    if as_json:
        rows = [
            {
                "route": route.name,
                "method": requests.METHOD,
                "path": f"/repos/{request.repository}/{request.path}",
                "body": request.body,
            }
            for route, request in dispatches
        ]
        print(json.dumps(rows, indent=2))
    else:
        _print(event, [route for route, _ in dispatches], len(routes))
    return 0 if dispatches else 1


def _request(event: Event, route: Route) -> DispatchRequest:
    text = payload.make(event, route, dispatch_id=_DISPATCH_ID, delivery_id=_DELIVERY_ID)
    return requests.build(
        route.dispatch,
        text,
        repository=route.repository,
        event_type=route.event_type,
        workflow=route.workflow,
        ref=route.ref,
    )


def _print(event: Event, matching: list[Route], total: int) -> None:
    out = console()
    subject = [f"model {event.model!r} version {event.version}"]
    subject += [f"{name} {text!r}" for name, text in (("alias", event.alias), ("tag", event.tag)) if text is not None]
    out.print(f"{event.kind}: {', '.join(subject)}")
    if not matching:
        reason = routing.unroutable_reason(event) or f"no route matches ({total} checked)"
        out.print(f"nothing is dispatched: {reason}")
        return
    table = Table("route", "repository", "dispatch", "inputs")
    for route in matching:
        starts = route.event_type
        if route.dispatch is DispatchMethod.WORKFLOW:
            starts = f"{route.workflow} on {route.ref}"
        inputs = "\n".join(f"{name}={value}" for name, value in route.inputs.items())
        table.add_row(route.name, route.repository, f"{route.dispatch} {starts}", inputs or "–")
    out.print(table)
