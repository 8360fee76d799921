"""How an event becomes a delivery with its dispatches: the same for what MLflow tells us and for what we find there."""

from collections.abc import Iterable, Sequence

from ulid import ULID

from bridge.core import payload, routing
from bridge.core.events import Event, UnsupportedEvent
from bridge.core.routing import Route
from bridge.ledger import Accepted, Delivery, Dispatch, Duplicate, Ledger, Unstorable


async def take(
    ledger: Ledger, event: Event, delivery_id: str, routes: Iterable[Route], *, now: float
) -> Accepted | Duplicate | None:
    """Write the event down with a dispatch for each route that wants it; None where none does, and nothing is written.

    Raises `PayloadTooLarge` where GitHub would not take a dispatch, `UnsupportedEvent` where the ledger can't store the
    event, and `LedgerUnavailable`.
    """
    wanting = routing.match(event, routes)
    if not wanting:
        return None
    dispatches = [_dispatch(event, route, delivery_id) for route in wanting]
    try:
        return await ledger.accept(Delivery(delivery_id, event, now), dispatches)
    except Unstorable as error:
        raise UnsupportedEvent(error.message, error.hint, str(error)) from error


async def replay(ledger: Ledger, delivery: Delivery, routes: Iterable[Route], *, now: float) -> Sequence[Dispatch]:
    """Write down new dispatches for a delivery that is there, by the routes as they are now, and give them.

    None where no route wants it any more. Raises `PayloadTooLarge` and `LedgerUnavailable`.
    """
    wanting = routing.match(delivery.event, routes)
    dispatches = [_dispatch(delivery.event, route, delivery.id) for route in wanting]
    if dispatches:
        await ledger.replay(delivery.id, dispatches, now=now)
    return dispatches


def _dispatch(event: Event, route: Route, delivery_id: str) -> Dispatch:
    dispatch_id = str(ULID())
    text = payload.make(event, route, dispatch_id=dispatch_id, delivery_id=delivery_id)
    return Dispatch(
        dispatch_id,
        route.name,
        route.repository,
        route.event_type,
        text,
        way=route.dispatch,
        workflow=route.workflow,
        ref=route.ref,
    )
