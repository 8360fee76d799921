"""The loop that finds the runs of sent dispatches and follows each run to its end."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar, Final

import structlog

from bridge.core.dispatches import AWAITING_RUN, DispatchState, OpenDispatch, Run, RunObservation, by_dispatch, decide
from bridge.github.client import GithubApi, RunLookupFailed
from bridge.github.responses import Answer, delay, pause
from bridge.ledger import FOLLOWER, Ledger, LedgerUnavailable, Unstorable, runs, versions
from bridge.mlflow.client import MlflowAnswerTooLarge, MlflowApi, MlflowError, MlflowNotFound, MlflowRefused
from bridge.mlflow.threads import run_in_daemon_thread
from bridge.workers.lease import Lease
from bridge.workers.loop import Loop
from bridge.workers.waits import WAITS, Waits

_RUN_ENDED: Final = frozenset(
    {DispatchState.SUCCEEDED, DispatchState.FAILED, DispatchState.CANCELLED, DispatchState.SUPERSEDED}
)

_FEW_MISSING: Final = 2
"""Up to so many known runs are read by their ids instead of searching further pages of the list for them."""

_MAX_READ_BY_ID: Final = 20
"""Runs that are read by their ids in one step, if GitHub's list doesn't reach back to them."""

_log = structlog.get_logger(__name__)


class Follower(Loop):
    """Asks for each repository's runs once every `interval` seconds, and records the states of its dispatches.

    At a run's end the image that MLflow's tags name is recorded, if there is an `mlflow`, and `ended` is called with
    the run's state and the seconds since the delivery. `problems` has the reasons: by repository, why its runs can't be
    followed now, and by dispatch, why its run is no longer followed.
    """

    name: ClassVar[str] = FOLLOWER

    def __init__(
        self,
        ledger: Ledger,
        github: GithubApi,
        mlflow: MlflowApi | None = None,
        *,
        interval: float,
        ended: Callable[[str, float], None] = lambda _state, _seconds: None,
        clock: Callable[[], float] | None = None,
        chance: Callable[[], float] = random.random,
        waits: Waits = WAITS,
    ) -> None:
        super().__init__()
        self.problems: dict[str, str] = {}
        self._ledger = ledger
        self._github = github
        self._mlflow = mlflow
        self._interval = interval
        self._ended = ended
        self._clock = clock or ledger.time
        self._waits = waits
        self._lease = Lease(ledger, FOLLOWER, seconds=interval + waits.lease, clock=self._clock)
        self._chance = chance
        self._failures: dict[str, int] = defaultdict(int)
        self._not_before: dict[str, float] = {}
        self._checked_reruns = 0.0
        self._unread: dict[tuple[str, str], None] = {}  # model and version; ordered, unlike a set

    async def step(self) -> float:
        """Ask each repository that has open dispatches once, if this process is the one that follows."""
        now = self._clock()
        # 1. Hold the lease: one process follows, or GitHub's quota would be spent once per replica.
        if await self._lease.acquire() is None:
            self.problems.clear()
            return self._interval
        async with self._lease.renewing():
            # 2. Read the image tags that MLflow couldn't return the last time.
            await self._read_images()
            # 3. Ask for the runs: of what is under way, and more rarely of what has ended, because it may be re-run.
            open_dispatches = await self._ledger.read(runs.open_dispatches, now=now)
            with_ended = now >= self._checked_reruns + self._waits.rerun_check
            if with_ended:
                self._checked_reruns = now
            by_repository: dict[str, list[OpenDispatch]] = defaultdict(list)
            for dispatch in open_dispatches:
                if dispatch.id not in self.problems and (with_ended or dispatch.state in AWAITING_RUN):
                    by_repository[dispatch.repository].append(dispatch)
            for repository, dispatches in by_repository.items():
                if self._not_before.get(repository, 0.0) <= now and not self.stopping:
                    await self._guarded_follow(repository, dispatches)
        return self._interval

    async def end(self) -> None:
        """Let another process follow."""
        await self._lease.release()

    async def _guarded_follow(self, repository: str, dispatches: Sequence[OpenDispatch]) -> None:
        """Follow; an error with this repository doesn't affect the others."""
        try:
            await self._follow(repository, dispatches)
        except LedgerUnavailable:
            raise
        except Exception as error:
            _log.exception("can't follow runs", repository=repository)
            self._not_before[repository] = self._clock() + self._waits.rerun_check
            self.problems[repository] = (
                f"can't follow the runs of {repository} ({type(error).__name__}): check the bridge's log"
            )

    async def _follow(self, repository: str, dispatches: Sequence[OpenDispatch]) -> None:
        asked_at = self._clock()
        try:
            runs_by_id = await self._find_runs(repository, dispatches)
        except RunLookupFailed as error:
            self._back_off(repository, error)
            return
        self._failures.pop(repository, None)
        self.problems.pop(repository, None)
        changes = []
        for dispatch in dispatches:
            if dispatch.id in runs_by_id:
                change = decide(dispatch, runs_by_id[dispatch.id], at=asked_at, unseen_after=self._waits.unseen_after)
                if change:
                    changes.append((dispatch, change))
        await self._record(changes)

    async def _find_runs(self, repository: str, dispatches: Sequence[OpenDispatch]) -> Mapping[str, Run | None]:
        """Return the run of each dispatch, None if it has none; unknown ones are left out.

        The list is read as far as is needed for those whose run isn't known; the others are then read by their ids.
        """
        runs_by_id: dict[str, Run | None] = {}
        missing = list(dispatches)
        since = min(dispatch.sent_at for dispatch in dispatches)
        async with aclosing(self._github.list_runs(repository, since=since)) as pages:
            async for page in pages:
                runs_by_id |= by_dispatch(page.runs, missing)
                missing = [dispatch for dispatch in missing if dispatch.id not in runs_by_id]
                if page.is_last:
                    runs_by_id |= {dispatch.id: None for dispatch in missing if dispatch.run_id is None}
                if len(missing) <= _FEW_MISSING and all(dispatch.run_id is not None for dispatch in missing):
                    break
        # What is under way comes first, and the rest in any order, so that every run gets its turn.
        to_read = [(dispatch, dispatch.run_id) for dispatch in missing if dispatch.run_id is not None]
        to_read.sort(key=lambda pair: (pair[0].state not in AWAITING_RUN, self._chance()))
        for dispatch, run_id in to_read[:_MAX_READ_BY_ID]:
            runs_by_id[dispatch.id] = await self._github.read_run(repository, run_id)
        return runs_by_id

    def _back_off(self, repository: str, error: RunLookupFailed) -> None:
        """Don't ask for the repository's runs for a while: as long as GitHub says, or longer with every failure."""
        now, failures = self._clock(), self._failures[repository]
        paused = pause(error.outcome, pauses=failures, now=now) if isinstance(error.outcome, Answer) else None
        until = paused.until if paused else now + delay(failures, self._chance())
        self._failures[repository] = failures + 1
        self._not_before[repository] = until
        if self.problems.get(repository) != str(error):
            _log.error("can't follow runs", repository=repository, reason=str(error), seconds=round(until - now))
        self.problems[repository] = str(error)

    async def _record(self, changes: Sequence[tuple[OpenDispatch, RunObservation]]) -> None:
        ended = [dispatch for dispatch, observation in changes if observation.state in _RUN_ENDED]
        self._unread |= {(dispatch.model, dispatch.version): None for dispatch in ended}
        await self._read_images()  # before the end is recorded: if the process is killed in between, both are repeated
        for dispatch, observation in changes:
            try:
                written = await self._ledger.write(runs.settle_run, dispatch.id, observation)
            except LedgerUnavailable:
                raise
            except Exception as error:  # it affects only this dispatch
                _log.exception("can't store the run", dispatch_id=dispatch.id, delivery_id=dispatch.delivery_id)
                self.problems[dispatch.id] = (
                    f"can't store the run of dispatch {dispatch.id} ({type(error).__name__}): "
                    "check the bridge's log, then replay its delivery"
                )
            else:
                if written:
                    self._report(dispatch, written)

    def _report(self, dispatch: OpenDispatch, observation: RunObservation) -> None:
        log = _log.error if observation.state in (DispatchState.FAILED, DispatchState.UNSEEN) else _log.info
        log(
            "run state changed",
            state=observation.state,
            reason=observation.reason,
            dispatch_id=dispatch.id,
            delivery_id=dispatch.delivery_id,
            repository=dispatch.repository,
            run_id=observation.run_id,
        )
        if dispatch.state in AWAITING_RUN and observation.state in _RUN_ENDED:
            self._ended(observation.state, observation.at - dispatch.created_at)

    async def _read_images(self) -> None:
        """Record the image tags of the versions whose runs have ended; after an error they are read again later."""
        refused: set[str] = set()
        for model, version in list(self._unread):
            if model in refused:
                continue
            try:
                await self._read_image(model, version)
            except MlflowRefused as error:  # perhaps only of this model
                refused.add(model)
                _log.warning("can't read a model's image tags from MLflow, will retry", model=model, reason=str(error))
            except (MlflowAnswerTooLarge, Unstorable) as error:  # a retry would fail the same way
                del self._unread[model, version]
                _log.error("can't read image tags from MLflow", model=model, version=version, reason=str(error))
            except MlflowError as error:
                self._unread[model, version] = self._unread.pop((model, version))  # the others go first then
                _log.warning(
                    "can't read image tags from MLflow, will retry", count=len(self._unread), reason=str(error)
                )
                return
            else:
                del self._unread[model, version]

    async def _read_image(self, model: str, version: str) -> None:
        if self._mlflow is None:
            return
        try:
            tags = (await run_in_daemon_thread(self._mlflow.version, model, version)).tags
        except MlflowNotFound:
            return  # it has been deleted
        now = self._clock()
        uri, status = tags.get("image.uri"), tags.get("image.status")
        await self._ledger.write(versions.write_image, model, version, uri, status, now=now)
