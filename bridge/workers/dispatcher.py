"""The loop that sends what is due to GitHub, one request at a time."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar, Final

import structlog

from bridge.core import requests
from bridge.core.dispatches import Decision, Pause, Reject, Retry, Sent, VerifyThenRetry
from bridge.core.requests import DispatchUnreadable
from bridge.github.client import ActionsUnreadable, GithubApi, LookFailed
from bridge.github.responses import MAX_DELAY, MAX_RATE_DELAY, Answer, decide, delay, pause
from bridge.ledger import LANE, LEASE, Lane, Ledger, Pending, Unstorable
from bridge.workers.lease import Lease
from bridge.workers.loop import Loop

_IDLE: Final = 5.0
"""Seconds between two looks at the ledger where nobody wakes the loop."""

_HELD: Final = 1.0
"""Seconds between two looks whether the lane is free, while another replica sends."""

_log = structlog.get_logger(__name__)


class Dispatcher(Loop):
    """Sends the lane's dispatches, `interval` seconds apart; an uncertain one only after a look for its run.

    `settle` is how many seconds GitHub may take to show a run. Of several dispatchers on one ledger the one that holds
    the lane sends; `clock` must be the ledger's time there. `dispatched` is told how many seconds after its delivery
    GitHub took a dispatch.
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
        """Look at the ledger at once, for something was accepted; while the lane is closed it can wait."""
        if self._clock() >= self._closed_until:
            super().wake()

    async def end(self) -> None:
        """Let the other replicas have the lane."""
        await self._lease.release()

    async def step(self) -> float:
        """Do the one thing that is due, if any; give the seconds until there may be more to do."""
        dispatch = await self._ledger.next_pending(now=self._clock())
        if dispatch is None:
            return _IDLE
        wait = _left(dispatch.next_at, self._clock(), max(MAX_DELAY, self._settle))
        if wait > 0:
            return min(wait, _IDLE)
        lane = await self._lease.take()
        if lane is None:
            return self._closed(_HELD)
        wait = _left(lane.next_at, self._clock(), MAX_RATE_DELAY if lane.paused_because else self._interval)
        if wait > 0:
            return self._closed(min(wait, _IDLE))
        async with self._lease.kept():  # however long GitHub takes
            await self._do(dispatch, lane)
        return self._closed(self._interval)

    def _closed(self, seconds: float) -> float:
        self._closed_until = self._clock() + seconds
        return seconds

    async def _do(self, dispatch: Pending, lane: Lane) -> None:
        """Look for the run of an uncertain dispatch; send what has none; write down what became of it."""
        holder = self._lease.holder
        decision = await self._look(dispatch, lane) if dispatch.sending_since is not None else None
        if decision is None:
            begun = await self._ledger.begin_sending(dispatch, holder, now=self._clock(), settle=self._settle)
            if begun is None:
                return  # somebody else has touched it, or has the lane
            dispatch = begun
            decision = await self._send(dispatch, lane)
        now = self._clock()
        settle = partial(self._ledger.settle, dispatch, holder=holder, now=now, lane_next_at=now + self._interval)
        try:
            written = await settle(decision)
        except Unstorable as error:
            decision = Reject(f"GitHub's answer can't be recorded ({error}): check the repository's runs")
            written = await settle(decision)
        _report(dispatch, decision, now, written=written)
        if written and isinstance(decision, Sent):
            self._dispatched(now - dispatch.created_at)

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

    async def _look(self, dispatch: Pending, lane: Lane) -> Decision | None:
        """Look whether an uncertain dispatch has a run; None means that it is to be sent."""
        try:
            run = await self._github.find_run(dispatch.repository, dispatch.id, since=dispatch.created_at)
        except ActionsUnreadable as error:
            # A second run does no harm, and none at all would.
            log = _log.bind(dispatch_id=dispatch.id, delivery_id=dispatch.delivery_id)
            log.warning("sent again without a look for its run", reason=str(error))
            return None
        except LookFailed as error:
            return self._after_failed_look(error, dispatch, lane)
        return Sent(run.id, run.html_url) if run else None

    def _after_failed_look(self, error: LookFailed, dispatch: Pending, lane: Lane) -> Decision:
        """Wait where GitHub is down or limits us."""
        now = self._clock()
        if isinstance(error.outcome, Answer) and (paused := pause(error.outcome, pauses=lane.pauses, now=now)):
            return replace(paused, look_first=True)
        return VerifyThenRetry(now + delay(dispatch.attempts, self._chance()), str(error))


def _left(at: float, now: float, longest: float) -> float:
    """Give the seconds until `at`; 0 where that is further than anything is ever put off: the clock was set back."""
    left = at - now
    return left if 0 < left <= longest else 0.0


def _report(dispatch: Pending, decision: Decision, now: float, *, written: bool) -> None:
    log = _log.bind(dispatch_id=dispatch.id, delivery_id=dispatch.delivery_id, repository=dispatch.repository)
    if not written:
        log.warning("another replica took the lane over meanwhile: it settles the dispatch")
        return
    match decision:
        case Sent(run_id):
            log.info("dispatched", seconds=round(now - dispatch.created_at, 3), run_id=run_id)
        case Reject(reason):
            log.error("dispatch rejected", reason=reason)
        case Retry(at, reason) | VerifyThenRetry(at, reason):
            log.warning("dispatch delayed", reason=reason, seconds=round(at - now, 1))
        case Pause(until, reason, repository_only=alone):
            what = "repository" if alone else "lane"
            log.error(f"{what} paused", reason=reason, seconds=round(until - now, 1))
