"""The status page: `GET /`, a page for each model version, the replay button, and their static files."""

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
from bridge.core.limits import MAX_SEARCH
from bridge.ledger import DeliveryDetails, DispatchDetails, DispatchState, Filter, VersionSummary, lanes, queries
from bridge.server import formatting, health, timeline
from bridge.server import replay as replaying
from bridge.server.auth import NotSignedIn, PageDisabled, admin
from bridge.server.errors import ErrorRoute, NotFound, headers_of, status_of
from bridge.server.state import AppState

if TYPE_CHECKING:
    from jinja2 import Environment

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Only our own files, nothing inline, and no frames, so that nobody can be tricked into a click on "Replay"."""

_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "same-origin"}

_FILES: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}

_ROWS: Final = 50


class _PageRoute(ErrorRoute):
    """A route whose errors are answered as pages."""

    def answer_error(self, _request: Request, error: BridgeError) -> Response:
        """Answer the error; without a password there is only its text."""
        status = status_of(error)
        if isinstance(error, PageDisabled | NotSignedIn):
            return Response(str(error), status, headers_of(status), "text/plain")
        return _page("error.html", status, headers_of(status), error=error)


router = APIRouter(dependencies=[Depends(admin)], route_class=_PageRoute, include_in_schema=False)


@router.get("/")
async def versions(request: Request, state: str = "", search: str = "", before: str = "") -> Response:
    """List the model versions, most recent event first, filtered by state and by name."""
    app_state = AppState.of(request)
    search = search.replace("\0", "").strip()[:MAX_SEARCH]
    chosen = DispatchState(state) if state in set(DispatchState) else None
    shown = Filter(chosen, search, before=before.replace("\0", "") or None, limit=_ROWS)
    page = await app_state.ledger.read(queries.list_versions, shown)
    query = {"search": search, "state": chosen or ""}
    return _page(
        "versions.html",
        rows=[_row(app_state, row) for row in page.rows],
        states=list(DispatchState),
        chosen=chosen,
        search=search,
        first=not before,
        newest=f"/?{urlencode({key: value for key, value in query.items() if value})}",
        older=f"/?{urlencode({**query, 'before': page.next})}" if page.next else None,
        problems=await _problems(app_state),
    )


@router.get("/version")
async def version(request: Request, model: str = "", version: str = "", delivery: str = "") -> Response:
    """Show one version, by its name or by one of its deliveries, with all deliveries and dispatches."""
    app_state = AppState.of(request)
    if delivery:
        event = (await replaying.find(app_state, delivery)).delivery.event
        model, version = event.model, event.version
    result = None if "\0" in model + version else await app_state.ledger.read(queries.find_version, model, version)
    if result is None:
        raise NotFound(
            "there is no delivery for this model version",
            "check the name and version, or register the version in MLflow",
        )
    row, deliveries = result
    latest = [details for details in deliveries if details.delivery.id == row.delivery_id]
    now = app_state.ledger.time()
    return _page(
        "version.html",
        row=_row(app_state, row),
        deliveries=[_delivery(details, row, now) for details in deliveries],
        timeline=_timeline(latest[0], row, now) if latest else None,
        problems=await _problems(app_state),
    )


@router.post("/deliveries/{delivery_id}/replay")
async def replay(request: Request, delivery_id: str) -> Response:
    """Dispatch the delivery again, and show its version."""
    details, _ = await replaying.replay(AppState.of(request), delivery_id)
    event = details.delivery.event
    return RedirectResponse(formatting.page(event.model, event.version, delivery_id), 303)


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Return one of the pages' static files."""
    if name not in _FILES:
        raise NotFound("the file does not exist")
    return Response(_file(name), media_type=_FILES[name])


def _row(app_state: AppState, row: VersionSummary) -> dict[str, Any]:
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
        "mlflow": formatting.mlflow_page(app_state.settings.mlflow_tracking_uri, row.model, row.version),
        "told_at": row.told_at,
        "now": app_state.ledger.time(),
    }


def _delivery(details: DeliveryDetails, row: VersionSummary, now: float) -> dict[str, Any]:
    event = details.delivery.event
    return {
        "id": details.delivery.id,
        "kind": event.kind,
        "about": formatting.name(event.alias or event.tag or ""),
        "received_at": details.delivery.received_at,
        "dispatches": [_dispatch(dispatch, row, now) for dispatch in details.dispatches],
        "now": now,
    }


def _dispatch(dispatch: DispatchDetails, row: VersionSummary, now: float) -> dict[str, Any]:
    """Return a dispatch, without what the timeline or its attempts already show."""
    has_timeline = dispatch.id == row.dispatch_id
    has_reason = not has_timeline and dispatch.reason not in [attempt.answer for attempt in dispatch.answers]
    return {
        "details": dispatch,
        "reason": dispatch.reason if has_reason else None,
        "meaning": formatting.MEANINGS[dispatch.state],
        "log": formatting.link(dispatch.run_url),
        "phases": [] if has_timeline else timeline.phases(dispatch, now=now),
        "width": timeline.WIDTH,
    }


def _timeline(details: DeliveryDetails, row: VersionSummary, now: float) -> dict[str, Any]:
    """Return the timeline of the dispatch that the version's state is from."""
    dispatch = next(dispatch for dispatch in details.dispatches if dispatch.id == row.dispatch_id)
    pushed = details.delivery.event.kind == EventKind.VERSION_CREATED and row.image_status == "pushed"
    return {
        "steps": timeline.steps(dispatch, details.delivery.received_at, pushed=pushed),
        "phases": timeline.phases(dispatch, now=now),
        "width": timeline.WIDTH,
        "delivery_id": details.delivery.id,
        "can_replay": dispatch.state not in UNFINISHED,
    }


async def _problems(app_state: AppState) -> list[str]:
    return [fault.reason for fault in health.degraded(app_state, await app_state.ledger.read(lanes.pause_reasons))]


def _page(template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response:
    text = _environment().get_template(template).render(values)
    return HTMLResponse(text, status, _HEADERS | (headers or {}))


@cache
def _environment() -> "Environment":
    """Return Jinja2's environment; imported here so that a bridge without a page doesn't pay for it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bridge.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {name: getattr(formatting, name) for name in ("ago", "took", "moment", "iso")}
    environment.globals["files"] = {
        name: f"/static/{name}?{hashlib.sha256(_file(name)).hexdigest()[:8]}" for name in _FILES
    }
    return environment


@cache
def _file(name: str) -> bytes:
    return resources.files("bridge.server").joinpath("static", name).read_bytes()
