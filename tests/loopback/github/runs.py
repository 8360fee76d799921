"""Workflow runs and their queue, which executes one at a time.

Source: GitHub's document "Control the concurrency of workflows and jobs": in a group, one run is in progress and at
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
Value = TypeVar("Value")

PATIENCE = 1800.0
"""Seconds that no run takes unless it hangs."""
_STEP_LINES, _RUN_LINES = 200, 30


class RunNotCompleted(BridgeError):
    """The expected runs did not appear, or did not end, in time."""


@dataclass(frozen=True)
class Annotation:
    """A `::notice::`, `::warning::` or `::error::` of a step."""

    level: str
    title: str
    message: str


@dataclass(frozen=True)
class Step:
    """One step of a job; `number` counts from 1."""

    number: int
    name: str
    status: Status = "queued"
    conclusion: Conclusion | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True)
class Job:
    """One job of a run; a job of a called workflow is named `caller / job`. `log` is its log so far, masked."""

    id: int
    name: str
    steps: tuple[Step, ...]
    log: Path
    status: Status = "queued"
    conclusion: Conclusion | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    annotations: tuple[Annotation, ...] = ()

    def step_file(self, number: int) -> Path:
        """Return the file with the log of step `number`."""
        return self.log.with_suffix(f".{number}.txt")

    def step_log(self, number: int) -> str:
        """Return the end of the log of step `number`."""
        file = self.step_file(number)
        return _tail(file.read_text(encoding="utf-8"), _STEP_LINES) if file.exists() else ""


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
    """`github.event` of the run."""
    head_sha: str
    actor: str
    folder: Path
    """For the run's files."""
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
        """What the steps have written to GITHUB_STEP_SUMMARY so far, in the order of their ends, masked."""
        file = self.folder / "summary.md"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def log(self) -> str:
        """The logs of all jobs so far, each under its name, and that of the runner itself."""
        parts = [f"===== {job.name}\n{job.log.read_text(encoding='utf-8')}" for job in self.jobs if job.log.exists()]
        runner = self.folder / "runner.txt"
        return "\n".join([*parts, runner.read_text(encoding="utf-8") if runner.exists() else ""])

    @property
    def failure(self) -> str:
        """The end of each failed step's log, then the last lines of the whole run."""
        failed = [(job, step) for job in self.jobs for step in job.steps if step.conclusion == "failure"]
        parts = [f"===== {job.name}: {step.name}\n{job.step_log(step.number)}" for job, step in failed]
        return "\n".join(
            [f"run {self.title!r}: {self.conclusion or self.status}", *parts, "===== end", _tail(self.log, _RUN_LINES)]
        )


@dataclass(frozen=True)
class Assignment:
    """A run for a runner, with the repository's settings."""

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
        """Execute the run to its end and `report` each change; end soon once `cancelled` is set."""


class RunQueue:
    """Every run; once started, a thread executes them one after the other. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[int, Run] = {}
        self._changed = threading.Condition()
        self._cancelled: dict[int, threading.Event] = {}
        self._closed = False
        self._thread: threading.Thread | None = None
        # Like GitHub's, they are unique across restarts and need more than 32 bits.
        self._ids = itertools.count(time.time_ns() // 1_000_000, 7)

    def start(self, execute: Callable[[Run, Report, threading.Event], Conclusion]) -> None:
        """Start to execute; before that, runs stay queued."""
        self._thread = threading.Thread(target=self._work, args=(execute,), name="loopback-runs", daemon=True)
        self._thread.start()

    def new_id(self) -> int:
        """Return the id for the next run."""
        return next(self._ids)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs as they are now, newest first."""
        with self._changed:
            return tuple(sorted(self._runs.values(), key=lambda run: run.id, reverse=True))

    def add(self, run: Run, cancel_in_progress: bool = False) -> None:
        """Add a run, and cancel the pending one of its group, or with `cancel_in_progress` all of them."""
        with self._changed:
            others = [other for other in self._runs.values() if _same_group(other, run) and other.status != "completed"]
            for other in others:
                if cancel_in_progress or other.status == "pending":
                    self._cancel(other)
            held = any(self._runs[other.id].status != "completed" for other in others)
            self._runs[run.id] = replace(run, status="pending" if held else run.status)
            self._changed.notify_all()

    def again(self, run_id: int) -> None:
        """Queue a completed run again, under the same id."""
        with self._changed:
            if self._runs[run_id].status == "completed":
                self._update(run_id, status="queued", conclusion=None, jobs=())

    def wait_for(self, find: Callable[[tuple[Run, ...]], Value | None], timeout: float = PATIENCE) -> Value:
        """Return the first true value of `find` for the runs; raises `RunNotCompleted` after `timeout` s."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (value := find(self.runs)):
                if not self._changed.wait(deadline - time.monotonic()):
                    states = ", ".join(f"{run.title}: {run.conclusion or run.status}" for run in self.runs) or "no runs"
                    failures = "".join(f"\n{run.failure}" for run in self.runs if run.status == "in_progress")
                    raise RunNotCompleted(f"waited {timeout:g} s in vain for runs; there are {states}{failures}")
        return value

    def close(self) -> None:
        """Cancel the run in progress, wait for its end, and start no other."""
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
        """Wait for the oldest queued run and return it, in progress; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._queued())
            if self._closed:
                return None
            run = min(self._queued(), key=lambda run: run.id)
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


def _same_group(first: Run, second: Run) -> bool:
    return first.group is not None and first.group == second.group


def _tail(text: str, lines: int) -> str:
    return "\n".join(text.splitlines()[-lines:])
