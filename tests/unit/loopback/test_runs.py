import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.loopback.github.runs import Conclusion, Job, Report, Run, RunNotCompleted, RunQueue

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Execution:
    """Executes runs under the test's eye: each begins, and ends when it is let go or cancelled."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._let_go = threading.Semaphore(0)

    def __call__(self, run: Run, report: Report, cancelled: threading.Event) -> Conclusion:
        self.begun.append(run.title)
        report((Job(run.id * 10, "job", (), Path("log")),))
        while not cancelled.wait(0.005):
            if self._let_go.acquire(blocking=False):
                return "success"
        return "failure"

    def let_go(self, times: int = 1) -> None:
        self._let_go.release(times)


@pytest.fixture
def execution() -> Execution:
    return Execution()


@pytest.fixture
def queue(execution: Execution) -> Iterator[RunQueue]:
    queue = RunQueue(lambda: NOW)
    queue.start(execution)
    yield queue
    queue.close()


Add = Callable[..., Run]


@pytest.fixture
def add(queue: RunQueue, tmp_path: Path) -> Add:
    def add(title: str, group: str | None = None, cancel_in_progress: bool = False) -> Run:
        run = Run(
            id=queue.new_id(),
            number=1,
            workflow="w.yml",
            name="w",
            title=title,
            event="repository_dispatch",
            payload={},
            head_sha="0" * 40,
            actor="octo",
            folder=tmp_path / title,
            created_at=NOW,
            updated_at=NOW,
            group=group,
        )
        queue.add(run, cancel_in_progress)
        return run

    return add


def become(queue: RunQueue, **wanted: str) -> None:
    """Wait until the runs with these titles have these states (a conclusion, or a status)."""

    def fits(runs: tuple[Run, ...]) -> bool:
        states = {run.title: run.conclusion or run.status for run in runs}
        return all(states.get(title) == state for title, state in wanted.items())

    queue.wait_for(fits)


def test_one_run_executes_at_a_time_and_in_their_order(queue: RunQueue, add: Add, execution: Execution) -> None:
    for title in "abc":
        add(title)
    become(queue, a="in_progress", b="queued", c="queued")
    execution.let_go()
    become(queue, a="success", b="in_progress", c="queued")
    execution.let_go(2)
    become(queue, b="success", c="success")
    assert execution.begun == ["a", "b", "c"]
    assert [run.title for run in queue.runs] == ["c", "b", "a"]


def test_a_newer_run_of_a_group_replaces_the_pending_one_and_not_the_one_under_way(
    queue: RunQueue, add: Add, execution: Execution
) -> None:
    for title in "abc":
        add(title, "group")
    add("other", "another group")
    become(queue, a="in_progress", b="cancelled", c="pending", other="queued")
    execution.let_go()
    become(queue, a="success", c="in_progress")
    execution.let_go(2)
    become(queue, c="success", other="success")
    assert execution.begun == ["a", "c", "other"]


def test_without_a_runner_the_first_of_a_group_waits_queued_and_the_next_is_pending(add: Add, tmp_path: Path) -> None:
    idle = RunQueue(lambda: NOW)
    first = add("first", "group")
    for number, title in enumerate(("a", "b", "c")):
        idle.add(replace(first, id=number, title=title, status="queued"))
    assert [(run.title, run.status) for run in idle.runs] == [("c", "pending"), ("b", "completed"), ("a", "queued")]
    idle.close()


def test_cancel_in_progress_ends_the_run_under_way(queue: RunQueue, add: Add, execution: Execution) -> None:
    add("a", "group")
    become(queue, a="in_progress")
    add("b", "group", cancel_in_progress=True)
    become(queue, a="cancelled", b="in_progress")


def test_closing_cancels_the_run_under_way_and_starts_no_other(queue: RunQueue, add: Add, execution: Execution) -> None:
    add("a")
    add("b")
    become(queue, a="in_progress")
    queue.close()
    become(queue, a="cancelled", b="queued")
    assert execution.begun == ["a"]


def test_a_runner_that_breaks_fails_its_run_with_the_reason_and_the_next_one_runs(add: Add, tmp_path: Path) -> None:
    def breaks(run: Run, _: Report, __: threading.Event) -> Conclusion:
        if run.title == "a":
            raise OSError("no room")
        return "success"

    queue = RunQueue(lambda: NOW)
    for run in (add("a"), add("b")):
        queue.add(run)
    queue.start(breaks)
    become(queue, a="startup_failure", b="success")
    assert "OSError: no room" in queue.runs[-1].log
    queue.close()


def test_what_a_runner_reports_shows_at_once(queue: RunQueue, add: Add) -> None:
    add("a")
    jobs = queue.wait_for(lambda runs: runs[0].jobs)
    assert [job.name for job in jobs] == ["job"]


def test_waiting_in_vain_ends_with_what_there_was(queue: RunQueue, add: Add) -> None:
    add("a")
    become(queue, a="in_progress")
    with pytest.raises(RunNotCompleted, match="a: in_progress"):
        queue.wait_for(lambda _: None, 0.01)


def test_run_ids_are_unique_and_need_more_than_32_bits(queue: RunQueue) -> None:
    ids = [queue.new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert min(ids) > 2**32
