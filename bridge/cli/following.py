"""`deliveries follow`: waits until the runs of a delivery end, and says what becomes of them meanwhile."""

import asyncio
import time
from typing import Final

from rich.console import Console

from bridge.cli import ledger_access
from bridge.cli.rendering import subject
from bridge.ledger import DeliveryDetails, DispatchDetails, DispatchState, Filter, Ledger

_POLL: Final = 0.5
"""Seconds between two looks into the ledger; GitHub is asked by the running bridge alone."""

_UNDER_WAY: Final = frozenset({DispatchState.PENDING, DispatchState.SENT, DispatchState.RUNNING})
_WELL: Final = frozenset({DispatchState.SUCCEEDED, DispatchState.SUPERSEDED})
"""A superseded run's work is done by the newer one."""

_HELD: Final = "GitHub isn't asked just now"

WELL, NOT_WELL, NOT_OVER = 0, 1, 3
"""Exit statuses."""


async def follow(
    url: str, wanted: Filter | str, timeout: float | None, console: Console
) -> tuple[int, DeliveryDetails | None]:
    """Follow the delivery of that id, or the newest that is wanted; give the exit status and what was seen last.

    0 where each run ended well, 1 where one didn't, 3 where they are still under way after `timeout` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    told: dict[str, tuple[DispatchState, str | None]] = {}
    story: DeliveryDetails | None = None
    waiting = ""
    async with ledger_access.opened(url) as ledger:
        with console.status("waiting for the delivery") as status:
            while deadline is None or time.monotonic() < deadline:
                story = await _find(ledger, wanted)
                sent = newest(story) if story else []
                _tell(console, sent, told, story)
                if sent and not any(one.state in _UNDER_WAY for one in sent):
                    return (WELL if all(one.state in _WELL for one in sent) else NOT_WELL), story
                waits = _waiting(sent, await ledger.paused())
                status.update(waits)
                if waits != waiting and waits.startswith(_HELD):
                    console.print(waits, soft_wrap=True)
                waiting = waits
                await asyncio.sleep(_POLL)
    return NOT_OVER, story


def newest(story: DeliveryDetails) -> list[DispatchDetails]:
    """Give what was sent last, by one route or several: all else was before a replay."""
    return [one for one in story.sent if one.created_at == story.sent[0].created_at]


async def _find(ledger: Ledger, wanted: Filter | str) -> DeliveryDetails | None:
    if isinstance(wanted, str):
        return await ledger.story(wanted)
    part = await ledger.told(wanted)
    return part.rows[0] if part.rows else None


def _tell(
    console: Console,
    sent: list[DispatchDetails],
    told: dict[str, tuple[DispatchState, str | None]],
    story: DeliveryDetails | None,
) -> None:
    for one in sent:
        seen = one.state, one.run_url or one.reason
        if story and told.get(one.id) != seen:
            told[one.id] = seen
            more = f": {seen[1]}" if seen[1] else ""
            about = f"{subject(story.delivery.event)} → {one.repository}"
            console.print(f"{time.strftime('%H:%M:%S')} {about}: {one.state.value}{more}", soft_wrap=True)


def _waiting(sent: list[DispatchDetails], paused: dict[str, str]) -> str:
    if not sent:
        return "waiting for the delivery"
    for reason in paused.values():
        if any(one.state is DispatchState.PENDING for one in sent):
            return f"{_HELD}: {reason}"
    return ", ".join(f"{one.repository}: {one.state.value}" for one in sent)
