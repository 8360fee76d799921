"""The status page: `GET /`, a page for each model version, the button that replays, and the files that they need."""

import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from bridge.core.dispatches import UNFINISHED
from bridge.core.errors import BridgeError
from bridge.core.events import EventKind
from bridge.ledger import DeliveryDetails, DispatchDetails, DispatchState, Filter, VersionSummary, lanes, queries
from bridge.server import formatting, health, timeline
from bridge.server import replay as replaying
from bridge.server.auth import NoPage, NotSignedIn, admin
from bridge.server.errors import RefusingRoute, Unknown, code, headers
from bridge.server.state import AppState

if TYPE_CHECKING:
    from jinja2 import Environment

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing but our own files, nothing inline, and nobody's frame: a click on "Replay" is meant."""

_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "same-origin"}

_FILES: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}

_ROWS: Final = 50
_LONGEST_SEARCH: Final = 500


class _PageRoute(RefusingRoute):
    """A route whose errors are pages, too."""

    def refuse(self, _request: Request, error: BridgeError) -> Response:
        """Answer the error; nobody who isn't let in sees more than its text."""
        status = code(error)
        if isinstance(error, NoPage | NotSignedIn):
            return Response(str(error), status, headers(status), "text/plain")
        return _page("refusal.html", status, headers(status), reason=str(error))


router = APIRouter(dependencies=[Depends(admin)], route_class=_PageRoute, include_in_schema=False)


@router.get("/")
async def versions(request: Request, state: str = "", search: str = "", before: str = "") -> Response:
    """List the model versions, newest first, those alone that are in one state or are named so."""
    parts = AppState.of(request)
    search = search.replace("\0", "").strip()[:_LONGEST_SEARCH]
    chosen = DispatchState(state) if state in set(DispatchState) else None
    part = await parts.ledger.read(
        queries.list_versions, Filter(chosen, search, before=before.replace("\0", "") or None, limit=_ROWS)
    )
    asked = {"search": search, "state": chosen or ""}
    return _page(
        "versions.html",
        rows=[_row(parts, row) for row in part.rows],
        states=list(DispatchState),
        chosen=chosen,
        search=search,
        first=not before,
        newest=f"/?{urlencode({key: value for key, value in asked.items() if value})}",
        older=f"/?{urlencode({**asked, 'before': part.next})}" if part.next else None,
        troubles=await _troubles(parts),
    )


@router.get("/version")
async def version(request: Request, model: str = "", version: str = "", delivery: str = "") -> Response:
    """Show one version, by its name or by a delivery of it, and all that became of it."""
    parts = AppState.of(request)
    if delivery:
        event = (await replaying.find(parts, delivery)).delivery.event
        model, version = event.model, event.version
    found = None if "\0" in model + version else await parts.ledger.read(queries.find_version, model, version)
    if found is None:
        raise Unknown("no delivery told of that model version: check its name, or register it in MLflow")
    row, stories = found
    now = parts.ledger.time()
    return _page(
        "version.html",
        row=_row(parts, row),
        stories=[_story(story, row, now) for story in stories],
        shown=next((_shown(story, row, now) for story in stories if story.delivery.id == row.delivery_id), None),
        troubles=await _troubles(parts),
    )


@router.post("/deliveries/{delivery_id}/replay")
async def replay(request: Request, delivery_id: str) -> Response:
    """Send the delivery again, and show its version."""
    story, _ = await replaying.replay(AppState.of(request), delivery_id)
    event = story.delivery.event
    return RedirectResponse(formatting.page(event.model, event.version, delivery_id), 303)


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Give one of the pages' own files."""
    if name not in _FILES:
        raise Unknown("there is no such file")
    return Response(_file(name), media_type=_FILES[name])


def _row(parts: AppState, row: VersionSummary) -> dict[str, Any]:
    tagged, digest = formatting.image(row.image_uri) if row.image_uri else ("", "")
    return {
        "key": row.dispatch_id,
        "model": formatting.name(row.model),
        "version": row.version,
        "state": row.state,
        "meaning": formatting.MEANINGS[row.state],
        "reason": row.reason,
        "page": formatting.page(row.model, row.version, row.delivery_id),
        "image": row.image_uri,
        "tagged": tagged,
        "digest": digest,
        "image_status": row.image_status,
        "log": formatting.link(row.run_url),
        "mlflow": formatting.mlflow_page(parts.settings.mlflow_tracking_uri, row.model, row.version),
        "told_at": row.told_at,
        "now": parts.ledger.time(),
    }


def _story(story: DeliveryDetails, row: VersionSummary, now: float) -> dict[str, Any]:
    event = story.delivery.event
    return {
        "id": story.delivery.id,
        "kind": event.kind,
        "about": formatting.name(event.alias or event.tag or ""),
        "received_at": story.delivery.received_at,
        "sent": [_sent(sending, row, now) for sending in story.sent],
        "now": now,
    }


def _sent(sending: DispatchDetails, row: VersionSummary, now: float) -> dict[str, Any]:
    """Give a dispatch; what the timeline and the answers show of it is not said twice."""
    is_shown = sending.id == row.dispatch_id
    is_said = is_shown or sending.reason in [one.answer for one in sending.answers]
    return {
        "of": sending,
        "reason": None if is_said else sending.reason,
        "meaning": formatting.MEANINGS[sending.state],
        "log": formatting.link(sending.run_url),
        "stretches": [] if is_shown else timeline.stretches(sending, now=now),
        "width": timeline.WIDTH,
    }


def _shown(story: DeliveryDetails, row: VersionSummary, now: float) -> dict[str, Any]:
    """Give the way of the dispatch that the version's state is from."""
    sending = next(each for each in story.sent if each.id == row.dispatch_id)
    pushed = story.delivery.event.kind == EventKind.VERSION_CREATED and row.image_status == "pushed"
    return {
        "steps": timeline.steps(sending, story.delivery.received_at, pushed=pushed),
        "stretches": timeline.stretches(sending, now=now),
        "width": timeline.WIDTH,
        "delivery_id": story.delivery.id,
        "can_help": sending.state not in UNFINISHED,
    }


async def _troubles(parts: AppState) -> list[str]:
    return [fault.reason for fault in health.degraded(parts, await parts.ledger.read(lanes.pause_reasons))]


def _page(template: str, status: int = 200, more: dict[str, str] | None = None, **values: Any) -> Response:
    text = _environment().get_template(template).render(values)
    return HTMLResponse(text, status, _HEADERS | (more or {}))


@cache
def _environment() -> "Environment":
    """Give Jinja2, imported with the first page alone: who has no page needn't pay for it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("bridge.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"ago": formatting.ago, "took": formatting.took, "moment": formatting.moment, "iso": formatting.iso}
    made.globals["files"] = {name: f"/static/{name}?{hashlib.sha256(_file(name)).hexdigest()[:8]}" for name in _FILES}
    return made


@cache
def _file(name: str) -> bytes:
    return resources.files("bridge.server").joinpath("static", name).read_bytes()
