from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.github.runs import Annotation
from tests.loopback.runner.outputs import GUARD
from tests.loopback.runner.progress import Progress, plan, read_record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALLER = """\
on: repository_dispatch
jobs:
  image: {uses: ./.github/workflows/called.yml}
  after: {name: Afterwards, needs: image, runs-on: x, steps: [{uses: some/action@v1}, {run: "echo 1\\necho 2"}]}
"""
CALLED = """\
on: workflow_call
jobs:
  resolve: {runs-on: x, steps: [{id: look, name: "Look at ${{ inputs.model }}", run: x}, {name: Next, run: x}]}
  build: {runs-on: x, steps: [{run: "echo ${{ inputs.model }}\necho 2"}]}
"""
RESOLVE = {"job": "image/Called/resolve  ", "jobID": "resolve"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    (folder / "caller.yml").write_text(CALLER)
    (folder / "called.yml").write_text(CALLED)
    return tmp_path


@pytest.fixture
def progress(tree: Path, tmp_path: Path) -> Progress:
    planned = plan(tree, ".github/workflows/caller.yml")
    return Progress(planned, tmp_path / "run", 70, lambda text: text.replace("s3cret", "***"))


Feed = Callable[..., None]


@pytest.fixture
def feed(progress: Progress) -> Feed:
    seconds = iter(range(100))

    def feed(**record: Any) -> None:
        progress.feed(
            {"time": "2026-01-01T00:00:00Z", "msg": "", **RESOLVE, **record}, NOW + timedelta(seconds=next(seconds))
        )

    return feed


def look(**record: Any) -> dict[str, Any]:
    return {"stepID": ["look"], "stage": "Main", "step": "Look at iris s3cret", **record}


def states(progress: Progress) -> list[str]:
    return [f"{step.name}: {step.conclusion or step.status}" for step in progress.jobs[0].steps]


def test_the_jobs_of_called_workflows_stand_in_their_callers_place(progress: Progress) -> None:
    assert [(job.id, job.name) for job in progress.jobs] == [
        (70, "image / resolve"),
        (71, "image / build"),
        (72, "Afterwards"),
    ]
    assert [step.name for step in progress.jobs[2].steps] == [
        "Set up job",
        "Run some/action@v1",
        "Run echo 1",
        "Complete job",
    ]
    assert all(job.status == "queued" for job in progress.jobs)


def test_a_step_goes_from_queued_to_its_conclusion_with_its_times(progress: Progress, feed: Feed) -> None:
    feed(**look(msg="⭐ Run Main Look"))
    assert states(progress)[:3] == ["Set up job: queued", "Look at iris ***: in_progress", "Next: queued"]
    assert progress.jobs[0].status == "in_progress"
    feed(**look(raw_output=True, msg="working\n"))
    feed(**look(stepResult="success"))
    step = progress.jobs[0].steps[1]
    assert (step.status, step.conclusion, step.number) == ("completed", "success", 2)
    assert (step.started_at, step.completed_at) == (NOW, NOW + timedelta(seconds=2))


def test_a_step_without_a_name_is_called_by_the_first_line_that_it_runs(progress: Progress, feed: Feed) -> None:
    feed(job="image/Called/build", jobID="build", stepID=["0"], stage="Main", step="echo s3cret\necho 2")
    assert progress.jobs[1].steps[1].name == "Run echo ***"


def test_a_jobs_end_skips_the_steps_that_never_began(progress: Progress, feed: Feed) -> None:
    feed(**look())
    feed(**look(stepResult="failure"))
    feed(jobResult="failure")
    assert states(progress) == [
        "Set up job: skipped",
        "Look at iris ***: failure",
        "Next: skipped",
        "Complete job: skipped",
    ]
    assert progress.jobs[0].conclusion == "failure"


def test_a_failure_that_the_step_may_have_is_a_success(progress: Progress, feed: Feed) -> None:
    feed(**look())
    feed(**look(msg="Failed but continue next step"))
    feed(**look(stepResult="failure"))
    assert progress.jobs[0].steps[1].conclusion == "success"


def test_steps_inside_an_action_and_the_added_step_are_no_steps_of_the_job(progress: Progress, feed: Feed) -> None:
    before = states(progress)
    feed(stepID=["look", "0"], stage="Main", step="inner", stepResult="failure")
    feed(stepID=[GUARD], stage="Main", step="Hand over outputs", msg="⭐ Run Main Hand over outputs")
    assert states(progress) == before
    assert "Hand over" not in progress.jobs[0].log.read_text()


def test_the_runs_end_settles_what_is_open(progress: Progress, feed: Feed) -> None:
    feed(**look())
    progress.end(NOW, "cancelled")
    assert [job.conclusion for job in progress.jobs] == ["cancelled", "skipped", "skipped"]
    assert states(progress)[1:3] == ["Look at iris ***: cancelled", "Next: skipped"]


def test_log_summary_and_annotations_are_kept_and_masked(progress: Progress, feed: Feed, tmp_path: Path) -> None:
    feed(**look(msg="one s3cret\ntwo\n"))
    feed(**look(command="error", arg="mend s3cret", kvPairs={"title": "Broken"}, msg="::error::mend s3cret"))
    feed(**look(command="summary", content="| s3cret |\n", msg="Summary"))
    feed(**look(command="add-mask", arg="other", msg="::add-mask::other"))
    log = progress.jobs[0].log.read_text()
    assert log.splitlines()[:2] == ["2026-01-01T00:00:00Z one ***", "2026-01-01T00:00:00Z two"]
    assert "other" not in log
    assert progress.jobs[0].step_log(2).startswith("2026-01-01T00:00:00Z one ***\n")
    assert progress.jobs[0].annotations == (Annotation("error", "Broken", "mend ***"),)
    assert (tmp_path / "run/summary.md").read_text() == "| *** |\n"


def test_a_label_that_no_runner_has_fails_the_job(progress: Progress, feed: Feed) -> None:
    feed(msg="🚧  Skipping unsupported platform -- Try running with `-P windows-latest=...`")
    assert progress.jobs[0].conclusion == "failure"


def test_what_belongs_to_no_job_goes_to_the_runners_own_log(progress: Progress, tmp_path: Path) -> None:
    progress.feed(read_record("Error: Job 's3cret' failed"), NOW)
    progress.feed(read_record("7"), NOW)
    assert (tmp_path / "run/runner.txt").read_text() == " Error: Job '***' failed\n 7\n"
