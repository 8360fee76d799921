"""How an event becomes a delivery with its dispatches: the same for MLflow's webhooks and for what they missed."""

from collections.abc import Iterable, Sequence

from ulid import ULID

from bridge.core import payload, routing
from bridge.core.events import Event, UnsupportedEvent
from bridge.core.routing import Route
from bridge.ledger import Accepted, Delivery, Dispatch, Duplicate, Ledger, Unstorable
from bridge.ledger import accept as ledger_accept


async def accept(
    ledger: Ledger, event: Event, delivery_id: str, routes: Iterable[Route], *, now: float
) -> Accepted | Duplicate | None:
    """Store the event with a dispatch for each route that matches; None if none does, and nothing is stored.

    Raises `PayloadTooLarge` if GitHub would refuse a dispatch, `UnsupportedEvent` if the ledger can't store the event,
    and `LedgerUnavailable`.
    """
    dispatches = _dispatches(event, delivery_id, routes)
    if not dispatches:
        return None
    try:
        return await ledger.accept(Delivery(delivery_id, event, now), dispatches)
    except Unstorable as error:
        raise UnsupportedEvent(error.message, error.hint, str(error)) from error


async def replay(ledger: Ledger, delivery: Delivery, routes: Iterable[Route], *, now: float) -> Sequence[Dispatch]:
    """Store new dispatches for a known delivery, by the routes as they are now, and return them.

    None are returned if no route matches any more. Raises `PayloadTooLarge` and `LedgerUnavailable`.
    """
    dispatches = _dispatches(delivery.event, delivery.id, routes)
    if dispatches:
        await ledger.write(ledger_accept.replay, delivery.id, dispatches, now=now)
    return dispatches


def _dispatches(event: Event, delivery_id: str, routes: Iterable[Route]) -> list[Dispatch]:
    dispatches = []
    for route in routing.match(event, routes):
        dispatch_id = str(ULID())
        dispatches.append(
            Dispatch(
                dispatch_id,
                route.name,
                route.repository,
                route.event_type,
                payload.make(event, route, dispatch_id=dispatch_id, delivery_id=delivery_id),
                way=route.dispatch,
                workflow=route.workflow,
                ref=route.ref,
            )
        )
    return dispatches
