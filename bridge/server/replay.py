"""Finds a delivery by its id, and dispatches it again."""

from collections.abc import Sequence

import structlog

from bridge.ledger import DeliveryDetails, Dispatch, queries
from bridge.server.errors import NoMatchingRoute, NotFound
from bridge.server.state import AppState
from bridge.workers import intake

_log = structlog.get_logger(__name__)


async def find(state: AppState, delivery_id: str) -> DeliveryDetails:
    """Return the delivery with all its dispatches; raises `NotFound`."""
    details = None if "\0" in delivery_id else await state.ledger.read(queries.find_delivery, delivery_id)
    if details is None:
        raise NotFound("the ledger has no delivery with this id", "check the id")
    return details


async def replay(state: AppState, delivery_id: str) -> tuple[DeliveryDetails, Sequence[Dispatch]]:
    """Dispatch the delivery again by the current routes; raises `NotFound` and `NoMatchingRoute`."""
    details = await find(state, delivery_id)
    sent = await intake.replay(state.ledger, details.delivery, state.settings.routes, now=state.ledger.time())
    if not sent:
        raise NoMatchingRoute("no route matches this delivery any more", "check GITHUB_REPOSITORY or ROUTES_FILE")
    _log.info("replayed", delivery_id=delivery_id, dispatches=[dispatch.id for dispatch in sent])
    state.dispatcher.wake()
    return details, sent
