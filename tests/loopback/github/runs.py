"""Workflow runs and the queue in which they wait: one executes at a time.

Source: GitHub's document "Control the concurrency of workflows and jobs": of one group, one run holds the place and at
most one is pending; a newer one replaces the pending one.
"""

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from bridge.core.errors import BridgeError

Status = Literal["queued", "pending", "in_progress", "completed"]
Conclusion = Literal["success", "failure", "cancelled", "skipped", "startup_failure"]
Clock = Callable[[], datetime]
Found = TypeVar("Found")


class RunNotCompleted(BridgeError):
    """What a caller waited for didn't happen in the time that it gave."""


@dataclass(frozen=True)
class Annotation:
    """What a step said by `::notice::`, `::warning::` or `::error::`."""

    level: str
    title: str
    message: str


@dataclass(frozen=True)
class Step:
    """One step of a job, as GitHub's page of a run lists it; `number` counts from 1."""

    number: int
    name: str
    status: Status = "queued"
    conclusion: Conclusion | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True)
class Job:
    """One job of a run; a job of a called workflow is named `caller / job`. `log` is its masked log so far."""

    id: int
    name: str
    steps: tuple[Step, ...]
    log: Path
    status: Status = "queued"
    conclusion: Conclusion | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True)
class Run:
    """One workflow run at one moment; a changed run is a new value."""

    id: int
    number: int
    workflow: str
    """The path of the workflow's file."""
    name: str
    title: str
    event: str
    payload: Mapping[str, Any]
    """What the run sees as `github.event`."""
    head_sha: str
    actor: str
    folder: Path
    """Where all that the run leaves behind is."""
    created_at: datetime
    updated_at: datetime
    group: str | None = None
    head_branch: str = "main"
    started_at: datetime | None = None
    status: Status = "queued"
    conclusion: Conclusion | None = None
    jobs: tuple[Job, ...] = ()

    @property
    def summary(self) -> str:
        """Give what the steps have written to GITHUB_STEP_SUMMARY so far, in the order of their ends, masked."""
        file = self.folder / "summary.md"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def log(self) -> str:
        """Give the logs of all jobs so far, each under its name, and what the runner itself had to say."""
        parts = [f"===== {job.name}\n{job.log.read_text(encoding='utf-8')}" for job in self.jobs if job.log.exists()]
        runner = self.folder / "runner.txt"
        return "\n".join([*parts, runner.read_text(encoding="utf-8") if runner.exists() else ""])


@dataclass(frozen=True)
class Assignment:
    """What a runner is given: a run, and what it may know of the repository."""

    run: Run
    repository: str
    tree: Path
    url: str
    """The loopback GitHub's own address, for GITHUB_API_URL and GITHUB_SERVER_URL."""
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


Report = Callable[[tuple[Job, ...]], None]


class Runner(Protocol):
    """Executes runs; `ActRunner` is the real one."""

    def execute(self, assignment: Assignment, report: Report, cancelled: threading.Event) -> Conclusion:
        """Execute the run to its end and tell of each change by `report`; end soon once `cancelled` is set."""


class RunQueue:
    """Keeps every run; executes them one after the other in a thread of its own, once started. Safe between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[int, Run] = {}
        self._changed = threading.Condition()
        self._cancelled: dict[int, threading.Event] = {}
        self._closed = False
        self._thread: threading.Thread | None = None
        # Unique across restarts too, and of a size that a 32-bit reader fails on, as GitHub's are.
        self._ids = itertools.count(time.time_ns() // 1_000_000, 7)

    def start(self, execute: Callable[[Run, Report, threading.Event], Conclusion]) -> None:
        """Begin to execute; before that, runs stay queued."""
        self._thread = threading.Thread(target=self._work, args=(execute,), name="loopback-runs", daemon=True)
        self._thread.start()

    def new_id(self) -> int:
        """Give the id of the next run."""
        return next(self._ids)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Give all runs as they are now, newest first."""
        with self._changed:
            return tuple(sorted(self._runs.values(), key=lambda run: run.id, reverse=True))

    def add(self, run: Run, cancel_in_progress: bool = False) -> None:
        """Take a run; of its group, the pending one is cancelled, or all with `cancel_in_progress`."""
        with self._changed:
            others = [each for each in self._runs.values() if _same_group(each, run) and each.status != "completed"]
            for other in others:
                if cancel_in_progress or other.status == "pending":
                    self._cancel(other)
            held = any(self._runs[other.id].status != "completed" for other in others)
            self._runs[run.id] = replace(run, status="pending" if held else run.status)
            self._changed.notify_all()

    def again(self, run_id: int) -> None:
        """Queue a completed run once more, under the same id."""
        with self._changed:
            if self._runs[run_id].status == "completed":
                self._update(run_id, status="queued", conclusion=None, jobs=())

    def wait_for(self, look: Callable[[tuple[Run, ...]], Found | None], timeout: float) -> Found:
        """Give what `look` finds in the runs once it finds something; raises `RunNotCompleted` after `timeout` s."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (found := look(self.runs)):
                if not self._changed.wait(deadline - time.monotonic()):
                    states = ", ".join(f"{run.title}: {run.conclusion or run.status}" for run in self.runs) or "no runs"
                    raise RunNotCompleted(f"nothing fitting within {timeout:g} s among the runs ({states})")
        return found

    def close(self) -> None:
        """Cancel what executes, start nothing more, and come back once that is over."""
        with self._changed:
            self._closed = True
            for cancelled in self._cancelled.values():
                cancelled.set()
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    def _cancel(self, run: Run) -> None:
        if run.id in self._cancelled:
            self._cancelled[run.id].set()
        else:
            self._complete(run.id, "cancelled")

    def _work(self, execute: Callable[[Run, Report, threading.Event], Conclusion]) -> None:
        while run := self._next():
            cancelled = self._cancelled[run.id]
            try:
                conclusion = execute(run, partial(self._report, run.id), cancelled)
            except Exception as error:
                conclusion = "startup_failure"
                run.folder.mkdir(parents=True, exist_ok=True)
                (run.folder / "runner.txt").write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            self._complete(run.id, "cancelled" if cancelled.is_set() else conclusion)

    def _report(self, run_id: int, jobs: tuple[Job, ...]) -> None:
        self._update(run_id, jobs=jobs)

    def _next(self) -> Run | None:
        """Wait for the oldest queued run and take it; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._queued())
            if self._closed:
                return None
            run = min(self._queued(), key=lambda each: each.id)
            self._cancelled[run.id] = threading.Event()
            return self._update(run.id, status="in_progress", started_at=self._clock())

    def _queued(self) -> list[Run]:
        return [run for run in self._runs.values() if run.status == "queued"]

    def _complete(self, run_id: int, conclusion: Conclusion) -> None:
        with self._changed:
            self._cancelled.pop(run_id, None)
            run = self._update(run_id, status="completed", conclusion=conclusion)
            for other in list(self._runs.values()):
                if _same_group(other, run) and other.status == "pending":
                    self._update(other.id, status="queued")

    def _update(self, run_id: int, **changes: Any) -> Run:
        with self._changed:
            run = replace(self._runs[run_id], updated_at=self._clock(), **changes)
            self._runs[run_id] = run
            self._changed.notify_all()
        return run


def _same_group(one: Run, other: Run) -> bool:
    return one.group is not None and one.group == other.group
