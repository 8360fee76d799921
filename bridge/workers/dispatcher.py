"""The loop that sends due dispatches to GitHub, one request at a time."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Final

import structlog

from bridge.core import requests
from bridge.core.dispatches import Decision, Pause, Reject, Retry, Sent, VerifyThenRetry
from bridge.core.requests import DispatchUnreadable
from bridge.github.client import ActionsUnreadable, GithubApi, RunLookupFailed
from bridge.github.responses import MAX_DELAY, MAX_RATE_DELAY, Answer, decide, delay, pause
from bridge.ledger import LANE, LEASE, Lane, Ledger, Pending, Unstorable, lanes
from bridge.workers.lease import Lease
from bridge.workers.loop import Loop

_IDLE: Final = 5.0
"""Seconds between two queries of the ledger unless the loop is woken."""

_HELD: Final = 1.0
"""Seconds between two attempts to hold the lane while another replica does."""

_log = structlog.get_logger(__name__)


class Dispatcher(Loop):
    """Sends the lane's dispatches, `interval` seconds apart; an uncertain one only after a search for its run.

    `settle` is how many seconds GitHub may take to show a run. Of several dispatchers on one ledger the one that holds
    the lane sends; `clock` must be the ledger's time there. `dispatched` is called with the seconds from the delivery
    to GitHub's acceptance.
    """

    name: ClassVar[str] = "dispatcher"

    def __init__(
        self,
        ledger: Ledger,
        github: GithubApi,
        *,
        interval: float,
        settle: float,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        dispatched: Callable[[float], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._github = github
        self._interval = interval
        self._settle = settle
        self._clock = clock
        self._chance = chance
        self._dispatched = dispatched
        self._lease = Lease(ledger, LANE, seconds=LEASE, clock=clock)
        self._closed_until = 0.0

    def wake(self) -> None:
        """Query the ledger at once, because something was accepted; not while the lane is closed."""
        if self._clock() >= self._closed_until:
            super().wake()

    async def end(self) -> None:
        """Let another replica hold the lane."""
        await self._lease.release()

    async def step(self) -> float:
        """Send the one dispatch that is due, if any; return the seconds until there may be more to do."""
        # 1. Read what is due first. Only this needs no lease, so an idle replica writes nothing.
        dispatch = await self._ledger.read(lanes.next_pending, now=self._clock())
        if dispatch is None:
            return _IDLE
        wait = _seconds_until(dispatch.next_at, self._clock(), max(MAX_DELAY, self._settle))
        if wait > 0:
            return min(wait, _IDLE)
        # 2. Hold the lane: of all replicas one sends, else they would exceed GitHub's limits together.
        lane = await self._lease.acquire()
        if lane is None:
            return self._closed(_HELD)
        # 3. Wait until the lane is open.
        wait = _seconds_until(lane.next_at, self._clock(), MAX_RATE_DELAY if lane.paused_because else self._interval)
        if wait > 0:
            return self._closed(min(wait, _IDLE))
        # 4. Send, renewing the lease however long GitHub takes.
        async with self._lease.renewing():
            await self._process(dispatch, lane)
        return self._closed(self._interval)

    def _closed(self, seconds: float) -> float:
        self._closed_until = self._clock() + seconds
        return seconds

    async def _process(self, dispatch: Pending, lane: Lane) -> None:
        # 1. If the dispatch may have been sent before, search for its run; None means that it is to be sent.
        decision = await self._find_run(dispatch, lane) if dispatch.sending_since is not None else None
        if decision is None:
            # 2. Record that GitHub may receive it now: after a crash the next holder searches before it sends again.
            sending = await self._ledger.write(
                lanes.begin_sending, dispatch, self._lease.holder, now=self._clock(), settle=self._settle
            )
            if sending is None:
                return  # another replica has changed it, or holds the lane
            dispatch = sending
            # 3. Send it.
            decision = await self._send(dispatch, lane)
        # 4. Record the outcome. If the database can't store GitHub's message, reject the dispatch with our own:
        #    otherwise it would be sent again and again.
        now = self._clock()
        try:
            written = await self._record(dispatch, decision, now)
        except Unstorable as error:
            decision = Reject(f"GitHub's response can't be stored ({error.message}): check the repository's runs")
            written = await self._record(dispatch, decision, now)
        _report(dispatch, decision, now, written=written)
        if written and isinstance(decision, Sent):
            self._dispatched(now - dispatch.created_at)

    async def _record(self, dispatch: Pending, decision: Decision, now: float) -> bool:
        holder, lane_next_at = self._lease.holder, now + self._interval
        return await self._ledger.write(lanes.settle, dispatch, decision, holder, now=now, lane_next_at=lane_next_at)

    async def _send(self, dispatch: Pending, lane: Lane) -> Decision:
        try:
            request = requests.build(
                dispatch.way,
                dispatch.payload,
                repository=dispatch.repository,
                event_type=dispatch.event_type,
                workflow=dispatch.workflow,
                ref=dispatch.ref,
            )
        except DispatchUnreadable as error:
            return Reject(str(error))
        return decide(
            await self._github.dispatch(request),
            attempts=dispatch.attempts,
            pauses=lane.pauses,
            now=self._clock(),
            settle=self._settle,
            chance=self._chance(),
        )

    async def _find_run(self, dispatch: Pending, lane: Lane) -> Decision | None:
        try:
            run = await self._github.find_run(dispatch.repository, dispatch.id, since=dispatch.created_at)
        except ActionsUnreadable as error:
            # Sent again without a search: a second run does no harm, no run at all would.
            log = _log.bind(dispatch_id=dispatch.id, delivery_id=dispatch.delivery_id)
            log.warning("can't check for an earlier run, dispatching again", reason=str(error))
            return None
        except RunLookupFailed as error:
            # The search counts against the same limits as a dispatch, so a refused one pauses the lane as well. Either
            # way the dispatch stays uncertain: the next attempt searches again.
            now = self._clock()
            if isinstance(error.outcome, Answer) and (paused := pause(error.outcome, pauses=lane.pauses, now=now)):
                return replace(paused, verify_first=True)
            return VerifyThenRetry(now + delay(dispatch.attempts, self._chance()), str(error))
        return Sent(run.id, run.html_url) if run else None


def _seconds_until(at: float, now: float, longest: float) -> float:
    """Return the seconds until `at`; 0 if that is later than anything can be: then the clock was set back."""
    seconds = at - now
    return seconds if 0 < seconds <= longest else 0.0


def _report(dispatch: Pending, decision: Decision, now: float, *, written: bool) -> None:
    log = _log.bind(dispatch_id=dispatch.id, delivery_id=dispatch.delivery_id, repository=dispatch.repository)
    if not written:
        log.warning("another replica has taken over this dispatch")
        return
    match decision:
        case Sent(run_id):
            log.info("dispatched", seconds=round(now - dispatch.created_at, 3), run_id=run_id)
        case Reject(reason):
            log.error("dispatch rejected", reason=reason)
        case Retry(at, reason) | VerifyThenRetry(at, reason):
            log.warning("dispatch delayed", reason=reason, seconds=round(at - now, 1))
        case Pause(until, reason, repository_only=alone):
            scope = "repository" if alone else "lane"
            log.error(f"{scope} paused", reason=reason, seconds=round(until - now, 1))
