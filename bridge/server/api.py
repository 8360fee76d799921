"""The status page's JSON: `/api/versions`, `/api/deliveries`, and the OpenAPI description."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from pydantic import AfterValidator, BaseModel

from bridge.core.events import EventKind
from bridge.ledger import Attempt, DeliveryDetails, DispatchDetails, DispatchState, Filter, VersionSummary, queries
from bridge.server import replay as replaying
from bridge.server.auth import admin
from bridge.server.errors import NOT_SIGNED_IN, Refusal, RefusingRoute
from bridge.server.state import AppState
from bridge.server.webhook_answers import Word

_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    **NOT_SIGNED_IN,
    404: {"model": Refusal, "description": "There is no such thing, or no ADMIN_PASSWORD"},
    422: {"model": Refusal, "description": "A parameter is not of its form"},
    503: {"model": Refusal, "description": "The ledger can't be used just now"},
}
_REPLAY_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    403: {"model": Refusal, "description": "Another site asked for it"},
    409: {"model": Refusal, "description": "No route wants the delivery any more"},
}

router = APIRouter(dependencies=[Depends(admin)], route_class=RefusingRoute, responses=_REFUSALS)


def _storable(text: str | None) -> str | None:
    """Refuse NUL, which PostgreSQL keeps in no text."""
    if text and "\0" in text:
        raise ValueError("it holds a NUL")
    return text


_Text = Annotated[str | None, Query(max_length=1000), AfterValidator(_storable)]
_Search = Annotated[str, Query(max_length=500, description="A part of the model's name"), AfterValidator(_storable)]
_Before = Annotated[
    str | None, Query(max_length=100, description="`next` of the last answer"), AfterValidator(_storable)
]
_Limit = Annotated[int, Query(ge=1, le=200)]


class Image(BaseModel):
    """What MLflow's tags said of the version's image at the end of a run."""

    uri: str | None
    status: str | None


class Version(BaseModel):
    """A model version; state, reason and run are those of its newest delivery or replay."""

    model: str
    version: str
    state: DispatchState
    reason: str | None
    told_at: datetime
    image: Image
    repository: str
    run_url: str | None
    delivery_id: str
    dispatch_id: str


class Versions(BaseModel):
    """Versions, newest first; `next` is `before` of the next request, null at the end."""

    versions: list[Version]
    next: str | None


class AttemptAnswer(BaseModel):
    """An attempt at a dispatch, or several in a row with the same answer of GitHub's."""

    first_at: datetime
    last_at: datetime
    times: int
    outcome: str
    answer: str


class ApiDispatch(BaseModel):
    """One request to GitHub, followed to the end of its run."""

    id: str
    route: str
    repository: str
    state: DispatchState
    reason: str | None
    run_id: int | None
    run_url: str | None
    created_at: datetime
    sent_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    attempts: list[AttemptAnswer]


class ApiDelivery(BaseModel):
    """A delivery and all that was sent for it, newest first."""

    id: str
    event: EventKind
    model: str
    version: str
    alias: str | None
    tag: str | None
    received_at: datetime
    dispatches: list[ApiDispatch]


class Deliveries(BaseModel):
    """Deliveries, newest first; `next` is `before` of the next request, null at the end."""

    deliveries: list[ApiDelivery]
    next: str | None


class Replayed(BaseModel):
    """The dispatches that go out now."""

    status: Word
    delivery_id: str
    dispatch_ids: list[str]


async def _wanted(
    state: DispatchState | None = None,
    search: _Search = "",
    model: _Text = None,
    version: _Text = None,
    before: _Before = None,
    limit: _Limit = 50,
) -> Filter:
    return Filter(state, search, model, version, before, limit)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> dict[str, Any]:
    """Give the OpenAPI description."""
    app: FastAPI = request.app
    return app.openapi()


@router.get("/api/versions")
async def versions(request: Request, wanted: Annotated[Filter, Depends(_wanted)]) -> Versions:
    """List model versions, the most recently reported or replayed first."""
    part = await AppState.of(request).ledger.read(queries.list_versions, wanted)
    return Versions(versions=[_version(row) for row in part.rows], next=part.next)


@router.get("/api/deliveries")
async def deliveries(request: Request, wanted: Annotated[Filter, Depends(_wanted)]) -> Deliveries:
    """List deliveries, the most recently received or replayed first; `state` is that of the last dispatch."""
    part = await AppState.of(request).ledger.read(queries.list_deliveries, wanted)
    return Deliveries(deliveries=[delivery_answer(row) for row in part.rows], next=part.next)


@router.get("/api/deliveries/{delivery_id}")
async def delivery(request: Request, delivery_id: str) -> ApiDelivery:
    """Give one delivery with all that became of it."""
    return delivery_answer(await replaying.find(AppState.of(request), delivery_id))


@router.post("/api/deliveries/{delivery_id}/replay", status_code=202, responses=_REPLAY_REFUSALS)
async def replay(request: Request, delivery_id: str) -> Replayed:
    """Send the delivery again: new dispatches, with new ids, by the routes as they are now."""
    _, sent = await replaying.replay(AppState.of(request), delivery_id)
    return Replayed(status=Word.SUBMITTED, delivery_id=delivery_id, dispatch_ids=[one.id for one in sent])


def _version(row: VersionSummary) -> Version:
    return Version(
        model=row.model,
        version=row.version,
        state=row.state,
        reason=row.reason,
        told_at=_time(row.told_at),
        image=Image(uri=row.image_uri, status=row.image_status),
        repository=row.repository,
        run_url=row.run_url,
        delivery_id=row.delivery_id,
        dispatch_id=row.dispatch_id,
    )


def delivery_answer(story: DeliveryDetails) -> ApiDelivery:
    """Return the delivery as the API and the commands show it."""
    event = story.delivery.event
    return ApiDelivery(
        id=story.delivery.id,
        event=event.kind,
        model=event.model,
        version=event.version,
        alias=event.alias,
        tag=event.tag,
        received_at=_time(story.delivery.received_at),
        dispatches=[_dispatch(one) for one in story.sent],
    )


def _dispatch(one: DispatchDetails) -> ApiDispatch:
    return ApiDispatch(
        id=one.id,
        route=one.route,
        repository=one.repository,
        state=one.state,
        reason=one.reason,
        run_id=one.run_id,
        run_url=one.run_url,
        created_at=_time(one.created_at),
        sent_at=_maybe(one.sent_at),
        started_at=_maybe(one.started_at),
        ended_at=_maybe(one.ended_at),
        attempts=[_attempt(each) for each in one.answers],
    )


def _attempt(one: Attempt) -> AttemptAnswer:
    return AttemptAnswer(
        first_at=_time(one.first_at),
        last_at=_time(one.last_at),
        times=one.times,
        outcome=one.outcome,
        answer=one.answer,
    )


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _maybe(at: float | None) -> datetime | None:
    return None if at is None else _time(at)
