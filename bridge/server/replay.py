"""A delivery found by its id, and sent again."""

from collections.abc import Sequence

import structlog

from bridge.ledger import DeliveryDetails, Dispatch, queries
from bridge.server.errors import NothingToSend, Unknown
from bridge.server.state import AppState
from bridge.workers import intake

_log = structlog.get_logger(__name__)


async def find(state: AppState, delivery_id: str) -> DeliveryDetails:
    """Give the delivery with all that became of it; raises `Unknown`."""
    story = None if "\0" in delivery_id else await state.ledger.read(queries.find_delivery, delivery_id)
    if story is None:
        raise Unknown("the ledger has no delivery of that id: check it")
    return story


async def replay(state: AppState, delivery_id: str) -> tuple[DeliveryDetails, Sequence[Dispatch]]:
    """Send the delivery again by today's routes; raises `Unknown` and `NothingToSend`."""
    story = await find(state, delivery_id)
    sent = await intake.replay(state.ledger, story.delivery, state.settings.routes, now=state.ledger.time())
    if not sent:
        raise NothingToSend("no route wants this delivery any more: check GITHUB_REPOSITORY or ROUTES_FILE")
    _log.info("replayed", delivery_id=delivery_id, dispatches=[one.id for one in sent])
    state.dispatcher.wake()
    return story, sent
