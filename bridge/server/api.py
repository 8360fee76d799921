"""The status page's JSON: `/api/versions`, `/api/deliveries`, and the OpenAPI description."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from bridge.core.events import EventKind
from bridge.core.limits import MAX_CURSOR, MAX_PARAMETER, MAX_ROWS, MAX_SEARCH
from bridge.ledger import DeliveryDetails, DispatchState, Filter, queries
from bridge.server import replay as replaying
from bridge.server.auth import admin
from bridge.server.errors import NOT_SIGNED_IN, ErrorRoute
from bridge.server.state import AppState
from bridge.server.webhook_answers import ErrorAnswer, Outcome

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    **NOT_SIGNED_IN,
    404: {"model": ErrorAnswer, "description": "Not found, or ADMIN_PASSWORD is not set"},
    422: {"model": ErrorAnswer, "description": "A parameter is invalid"},
    503: {"model": ErrorAnswer, "description": "The ledger is temporarily unavailable"},
}
_REPLAY_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    403: {"model": ErrorAnswer, "description": "The request came from another site"},
    409: {"model": ErrorAnswer, "description": "No route matches the delivery any more"},
}

router = APIRouter(dependencies=[Depends(admin)], route_class=ErrorRoute, responses=_ERRORS)


def _storable(text: str | None) -> str | None:
    """Reject NUL, which PostgreSQL can't store in any text."""
    if text and "\0" in text:
        raise ValueError("it contains a NUL character")
    return text


_Text = Annotated[str | None, Query(max_length=MAX_PARAMETER), AfterValidator(_storable)]
_Search = Annotated[
    str, Query(max_length=MAX_SEARCH, description="Part of the model's name"), AfterValidator(_storable)
]
_Before = Annotated[
    str | None, Query(max_length=MAX_CURSOR, description="`next` of the previous response"), AfterValidator(_storable)
]
_Limit = Annotated[int, Query(ge=1, le=MAX_ROWS)]


_Time = Annotated[datetime, BeforeValidator(partial(datetime.fromtimestamp, tz=UTC))]
"""From Unix seconds: pydantic would read large numbers as milliseconds."""


class Image(BaseModel):
    """The version's image, from MLflow's tags at the end of a run."""

    uri: str | None
    status: str | None


class Version(BaseModel):
    """A model version; state, reason and run come from its most recent delivery or replay."""

    model: str
    version: str
    state: DispatchState
    reason: str | None
    told_at: _Time
    image: Image
    repository: str
    run_url: str | None
    delivery_id: str
    dispatch_id: str


class Versions(BaseModel):
    """Versions, most recent first; `next` is the value of `before` for the next page, null on the last."""

    versions: list[Version]
    next: str | None


class AttemptAnswer(BaseModel, from_attributes=True):
    """An attempt to dispatch, or several in a row with the same response from GitHub."""

    first_at: _Time
    last_at: _Time
    times: int
    outcome: str
    answer: str


class ApiDispatch(BaseModel, from_attributes=True):
    """One request to GitHub, followed to the end of its run."""

    id: str
    route: str
    repository: str
    state: DispatchState
    reason: str | None
    run_id: int | None
    run_url: str | None
    created_at: _Time
    sent_at: _Time | None
    started_at: _Time | None
    ended_at: _Time | None
    attempts: list[AttemptAnswer] = Field(validation_alias="answers")


class ApiDelivery(BaseModel):
    """A delivery and its dispatches, most recent first."""

    id: str
    event: EventKind
    model: str
    version: str
    alias: str | None
    tag: str | None
    received_at: _Time
    dispatches: list[ApiDispatch]


class Deliveries(BaseModel):
    """Deliveries, most recent first; `next` is the value of `before` for the next page, null on the last."""

    deliveries: list[ApiDelivery]
    next: str | None


class Replayed(BaseModel):
    """The new dispatches."""

    status: Outcome
    delivery_id: str
    dispatch_ids: list[str]


async def _filter(
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
    """Return the OpenAPI description."""
    app: FastAPI = request.app
    return app.openapi()


@router.get("/api/versions")
async def versions(request: Request, criteria: Annotated[Filter, Depends(_filter)]) -> Versions:
    """List model versions, most recently reported or replayed first."""
    page = await AppState.of(request).ledger.read(queries.list_versions, criteria)
    rows = [{**vars(row), "image": {"uri": row.image_uri, "status": row.image_status}} for row in page.rows]
    return Versions.model_validate({"versions": rows, "next": page.next})


@router.get("/api/deliveries")
async def deliveries(request: Request, criteria: Annotated[Filter, Depends(_filter)]) -> Deliveries:
    """List deliveries, most recently received or replayed first; `state` filters by the latest dispatch."""
    page = await AppState.of(request).ledger.read(queries.list_deliveries, criteria)
    return Deliveries(deliveries=[delivery_answer(row) for row in page.rows], next=page.next)


@router.get("/api/deliveries/{delivery_id}")
async def delivery(request: Request, delivery_id: str) -> ApiDelivery:
    """Return a delivery with all its dispatches."""
    return delivery_answer(await replaying.find(AppState.of(request), delivery_id))


@router.post("/api/deliveries/{delivery_id}/replay", status_code=202, responses=_REPLAY_ERRORS)
async def replay(request: Request, delivery_id: str) -> Replayed:
    """Dispatch the delivery again, with new dispatch ids and the current routes."""
    _, sent = await replaying.replay(AppState.of(request), delivery_id)
    return Replayed(status=Outcome.SUBMITTED, delivery_id=delivery_id, dispatch_ids=[dispatch.id for dispatch in sent])


def delivery_answer(details: DeliveryDetails) -> ApiDelivery:
    """Return the delivery as the API and the commands show it."""
    delivery = details.delivery
    event = {**vars(delivery.event), "event": delivery.event.kind}
    return ApiDelivery.model_validate(
        {**event, "id": delivery.id, "received_at": delivery.received_at, "dispatches": details.dispatches}
    )
