"""The loop that finds the runs of what was sent and follows each to its end."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar, Final

import structlog

from bridge.core import dispatches as runs
from bridge.core.dispatches import DispatchState, OpenDispatch, Run, RunObservation
from bridge.github.client import GithubApi, LookFailed
from bridge.github.responses import Answer, delay, pause
from bridge.ledger import FOLLOWER, Ledger, LedgerUnavailable, Unstorable
from bridge.mlflow.client import MlflowAnswerTooLarge, MlflowApi, MlflowError, MlflowNotFound, MlflowRefused
from bridge.mlflow.threads import run_in_daemon_thread
from bridge.workers.lease import Lease
from bridge.workers.loop import Loop

LOOK_AGAIN: Final = 300.0
"""Seconds between two looks for re-runs of what has ended: a page may show those a little late."""

_LEASE: Final = 60.0
"""Seconds, beside the interval, after which another process may follow in place of one that is gone."""

_ENDED: Final = frozenset(
    {DispatchState.SUCCEEDED, DispatchState.FAILED, DispatchState.CANCELLED, DispatchState.SUPERSEDED}
)

_RATHER_BY_ID: Final = 2
"""How many known runs are rather read by their ids than looked for on further pages of the list."""

_READ_BY_ID: Final = 20
"""How many runs are read by their ids in one step, where GitHub's list doesn't reach back to them."""

_log = structlog.get_logger(__name__)

Image = tuple[str, str]
"""A model and its version."""


class Follower(Loop):
    """Asks for each repository's runs once every `interval` seconds, and writes down what became of its dispatches.

    At a run's end the image that MLflow's tags name goes into the ledger, where there is an `mlflow`; `ended` is told
    the run's state and the seconds since the delivery. `problems` has the reasons: by repository,
    why its runs can't be followed now, and by dispatch, why its run is no longer followed.
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
    ) -> None:
        super().__init__()
        self.problems: dict[str, str] = {}
        self._ledger = ledger
        self._github = github
        self._mlflow = mlflow
        self._interval = interval
        self._ended = ended
        self._clock = clock or ledger.time
        self._lease = Lease(ledger, FOLLOWER, seconds=interval + _LEASE, clock=self._clock)
        self._chance = chance
        self._failures: dict[str, int] = defaultdict(int)
        self._not_before: dict[str, float] = {}
        self._looked_again = 0.0
        self._unread: dict[Image, None] = {}

    async def step(self) -> float:
        """Look once at every repository that is waited for, if this process is the one that follows."""
        now = self._clock()
        if await self._lease.take() is None:
            self.problems.clear()
            return self._interval
        async with self._lease.kept():
            await self._read_images()
            for repository, dispatches in _by_repository(await self._due(now)).items():
                if self._not_before.get(repository, 0.0) <= now and not self.stopping:
                    await self._guarded_look(repository, dispatches)
        return self._interval

    async def end(self) -> None:
        """Let another process follow."""
        await self._lease.release()

    async def _due(self, now: float) -> Sequence[OpenDispatch]:
        """Give what is under way, and every `LOOK_AGAIN` seconds also what may have been run again."""
        known = [each for each in await self._ledger.open_dispatches(now=now) if each.id not in self.problems]
        if now >= self._looked_again + LOOK_AGAIN:
            self._looked_again = now
            return known
        return [dispatch for dispatch in known if dispatch.state in runs.UNDER_WAY]

    async def _guarded_look(self, repository: str, dispatches: Sequence[OpenDispatch]) -> None:
        """Look; an error with this repository doesn't affect the others."""
        try:
            await self._look(repository, dispatches)
        except LedgerUnavailable:
            raise
        except Exception as error:
            _log.exception("runs can't be followed", repository=repository)
            self._not_before[repository] = self._clock() + LOOK_AGAIN
            self.problems[repository] = (
                f"the runs of {repository} can't be followed ({type(error).__name__}): check the bridge's log"
            )

    async def _look(self, repository: str, dispatches: Sequence[OpenDispatch]) -> None:
        asked = self._clock()
        try:
            found = await self._find(repository, dispatches)
        except LookFailed as error:
            self._back_off(repository, error)
            return
        self._failures.pop(repository, None)
        self.problems.pop(repository, None)
        known = [dispatch for dispatch in dispatches if dispatch.id in found]
        seen = [(dispatch, runs.decide(dispatch, found[dispatch.id], at=asked)) for dispatch in known]
        await self._write_down([(dispatch, state) for dispatch, state in seen if state])

    async def _find(self, repository: str, dispatches: Sequence[OpenDispatch]) -> Mapping[str, Run | None]:
        """Give the run of each dispatch, None where it has none; what can't be known just now is left out.

        The list is read as far as is needed for those whose run isn't known; the others are then read by their ids.
        """
        found: dict[str, Run | None] = {}
        missing = list(dispatches)
        async with aclosing(
            self._github.list_runs(repository, since=min(each.sent_at for each in dispatches))
        ) as pages:
            async for page in pages:
                found |= runs.by_dispatch(page.runs, missing)
                missing = [each for each in missing if each.id not in found]
                if page.is_last:
                    found |= {each.id: None for each in missing if each.run_id is None}
                if len(missing) <= _RATHER_BY_ID and all(each.run_id is not None for each in missing):
                    break
        for dispatch, run_id in self._to_read(missing):
            found[dispatch.id] = await self._github.read_run(repository, run_id)
        return found

    def _to_read(self, missing: Sequence[OpenDispatch]) -> list[tuple[OpenDispatch, int]]:
        """Give what is under way first, and the rest in any order, so that each comes round."""
        known = [(each, each.run_id) for each in missing if each.run_id is not None]
        return sorted(known, key=lambda pair: (pair[0].state not in runs.UNDER_WAY, self._chance()))[:_READ_BY_ID]

    def _back_off(self, repository: str, error: LookFailed) -> None:
        """Leave the repository alone for a while: as long as GitHub says, or longer with every failure."""
        now, failures = self._clock(), self._failures[repository]
        paused = pause(error.outcome, pauses=failures, now=now) if isinstance(error.outcome, Answer) else None
        until = paused.until if paused else now + delay(failures, self._chance())
        self._failures[repository] = failures + 1
        self._not_before[repository] = until
        if self.problems.get(repository) != str(error):
            _log.error("runs can't be followed", repository=repository, reason=str(error), seconds=round(until - now))
        self.problems[repository] = str(error)

    async def _write_down(self, changes: Sequence[tuple[OpenDispatch, RunObservation]]) -> None:
        """Read the images first: where the process is killed in between, both are done again."""
        self._unread |= {(each.model, each.version): None for each, seen in changes if seen.state in _ENDED}
        await self._read_images()
        for dispatch, seen in changes:
            try:
                written = await self._ledger.settle_run(dispatch.id, seen)
            except LedgerUnavailable:
                raise
            except Exception as error:  # it affects only this dispatch
                _log.exception("run can't be recorded", dispatch_id=dispatch.id, delivery_id=dispatch.delivery_id)
                self.problems[dispatch.id] = (
                    f"the run of the dispatch {dispatch.id} can't be recorded ({type(error).__name__}): "
                    "check the bridge's log, then replay its delivery"
                )
            else:
                if written:
                    self._report(dispatch, written)

    def _report(self, dispatch: OpenDispatch, seen: RunObservation) -> None:
        tell = _log.error if seen.state in (DispatchState.FAILED, DispatchState.UNSEEN) else _log.info
        tell(
            "run",
            state=seen.state,
            reason=seen.reason,
            dispatch_id=dispatch.id,
            delivery_id=dispatch.delivery_id,
            repository=dispatch.repository,
            run_id=seen.run_id,
        )
        if dispatch.state in runs.UNDER_WAY and seen.state in _ENDED:
            self._ended(seen.state, seen.at - dispatch.created_at)

    async def _read_images(self) -> None:
        """Keep what the tags of the versions say whose runs have ended; what MLflow can't tell now is asked again."""
        refused: set[str] = set()
        for model, version in list(self._unread):
            if model in refused:
                continue
            try:
                await self._read_image(model, version)
            except MlflowRefused as error:  # perhaps this model's alone
                refused.add(model)
                _log.warning("images of a model are not read from MLflow yet", model=model, reason=str(error))
            except (MlflowAnswerTooLarge, Unstorable) as error:  # a retry would fail the same way
                del self._unread[model, version]
                _log.error("an image can't be read from MLflow", model=model, version=version, reason=str(error))
            except MlflowError as error:
                self._unread[model, version] = self._unread.pop((model, version))  # next time, the others go first
                _log.warning("images are not read from MLflow yet", count=len(self._unread), reason=str(error))
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
        await self._ledger.write_image(model, version, tags.get("image.uri"), tags.get("image.status"), now=now)


def _by_repository(dispatches: Sequence[OpenDispatch]) -> Mapping[str, Sequence[OpenDispatch]]:
    found: dict[str, list[OpenDispatch]] = defaultdict(list)
    for dispatch in dispatches:
        found[dispatch.repository].append(dispatch)
    return found
