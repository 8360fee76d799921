"""The loopback GitHub over a real connection, with runs that the real `act` executes."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.loopback.github.runs import Run
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.runner.act import ActRunner, find_act
from tests.waiting import until

pytestmark = pytest.mark.skipif(find_act() is None, reason="act is not installed")

DATA = Path(__file__).parent / "data"
PASSWORD = "s3cret pass/word"


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackGitHub]:
    monkeypatch.setenv("OF_THE_HOST", "not for runs")
    with LoopbackGitHub(
        repository="octo/models",
        tree=DATA / "three-jobs",
        token="t0ken",
        folder=tmp_path / "github",
        runner=ActRunner(tmp_path / "runner", actions=DATA / "stand-ins"),
        variables={"STAGE": "demo 'quoted' $HOME", "PIDS": str(tmp_path / "pids")},
        secrets={"PASSWORD": PASSWORD, "EMPTY": ""},
    ) as github:
        yield github


@pytest.fixture
def client(github: LoopbackGitHub) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=github.url, headers={"Authorization": "Bearer t0ken"}) as client:
        yield client


Dispatch = Callable[[str], Run]


@pytest.fixture
def dispatch(github: LoopbackGitHub, client: httpx2.Client) -> Dispatch:
    def dispatch(model: str) -> Run:
        payload = {"dispatch_id": f"01J {model}", "model": {"name": model}}
        answer = client.post("/repos/octo/models/dispatches", json={"event_type": "model", "client_payload": payload})
        assert answer.status_code == 204, answer.text
        return next(run for run in github.runs if run.title.startswith(f"01J {model}"))

    return dispatch


@pytest.fixture
def finished(github: LoopbackGitHub, dispatch: Dispatch) -> Callable[[str], Run]:
    return lambda model: github.wait(dispatch(model))


def conclusions(run: Run) -> dict[str, str | None]:
    return {job.name.removeprefix("image / "): job.conclusion for job in run.jobs}


def test_three_jobs_of_a_called_workflow_run_and_hand_each_other_outputs(finished: Callable[[str], Run]) -> None:
    run = finished("模型 (EU)")
    assert run.conclusion == "success", run.failure
    assert conclusions(run) == {"resolve": "success", "build": "success", "promote": "success"}
    assert [step.name for step in run.jobs[0].steps] == [
        "Set up job",
        "Run actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
        "Run some/action@v1",
        "Look at 模型 (EU)",
        "Tell the surroundings",
        "Complete job",
    ]
    assert all(step.conclusion == "success" and step.started_at for job in run.jobs for step in job.steps)
    assert "model=[模型 (EU)]" in run.log
    assert "promoting digest=[sha256:1] after success" in run.log
    assert "the stand-in greets runner" in run.log


def test_the_summaries_of_all_steps_are_kept(finished: Callable[[str], Run]) -> None:
    assert finished("iris").summary == "## Resolved iris with ***\nbuilt\npromoted\n"


def test_outputs_that_hold_a_secret_are_dropped_and_the_others_kept(finished: Callable[[str], Run]) -> None:
    run = finished("iris")
    assert "handed over: leak=[] encoded=[] asked=[] model=[iris]" in run.log
    warnings = [note.message for note in run.jobs[0].annotations if note.level == "warning"]
    assert warnings == [f"Skip output '{name}' since it may contain secret." for name in ("leak", "encoded", "asked")]


def test_secrets_show_nowhere(finished: Callable[[str], Run], tmp_path: Path) -> None:
    run = finished("iris")
    assert "the password is ***" in run.log
    assert "token of the right shape" in run.log
    assert "secret on a command line" not in run.log
    left = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert left
    assert not [file for file in left if PASSWORD.encode() in file.read_bytes() or b"ghs_" in file.read_bytes()]


def test_a_run_knows_what_github_would_tell_it_and_nothing_of_the_host(
    finished: Callable[[str], Run], github: LoopbackGitHub, tmp_path: Path
) -> None:
    run = finished("iris")
    expected = f"run={run.id} sha={run.head_sha} repository=octo/models actor=octo ref=refs/heads/main"
    assert expected in run.log
    assert f"api={github.url} server={github.url} stage=demo 'quoted' $HOME event=repository_dispatch" in run.log
    assert f"home={tmp_path}/runner/home docker={tmp_path}/runner/docker host=unset" in run.log
    assert re.search(r" \.github/workflows/called\.yml +\| \d+ \+", run.log), "the commit in LOCAL_TREE has all files"


def test_a_job_that_need_not_run_is_skipped_and_the_next_one_runs(finished: Callable[[str], Run]) -> None:
    run = finished("built already")
    assert run.conclusion == "success"
    assert conclusions(run) == {"resolve": "success", "build": "skipped", "promote": "success"}
    assert "promoting digest=[] after skipped" in run.log


def test_a_step_that_fails_fails_the_run_and_skips_what_comes_behind_it(finished: Callable[[str], Run]) -> None:
    run = finished("broken")
    assert run.conclusion == "failure"
    assert conclusions(run) == {"resolve": "success", "build": "failure", "promote": "skipped"}
    assert [step.conclusion for step in run.jobs[1].steps] == ["success", "failure", "skipped", "success"]
    assert f"===== {run.jobs[1].name}: {run.jobs[1].steps[1].name}\n" in run.failure


def test_a_workflow_runs_by_hand_and_its_page_shows_its_steps(github: LoopbackGitHub, client: httpx2.Client) -> None:
    started = client.post(
        "/repos/octo/models/actions/workflows/caller.yml/dispatches",
        json={"ref": "main", "inputs": {"model": "iris"}},
        headers={"X-GitHub-Api-Version": "2026-03-10"},
    ).json()
    github.wait(started["workflow_run_id"])
    run = client.get(started["run_url"]).json()
    assert (run["display_title"], run["event"], run["status"]) == ("by hand", "workflow_dispatch", "completed")
    assert run["conclusion"] == "success"
    page = client.get(started["html_url"]).text
    assert "image / promote: Promote: success" in page
    assert "model=[iris]" in page


def test_a_run_shows_its_steps_while_it_goes_and_the_next_one_waits(github: LoopbackGitHub, dispatch: Dispatch) -> None:
    slow, waiting = dispatch("slow"), dispatch("iris")

    def states(run: Run) -> list[tuple[str, list[str]]]:
        return [(job.status, [step.status for step in job.steps[1:3]]) for job in run.jobs[1:]]

    expected = [("in_progress", ["in_progress", "queued"]), ("queued", ["queued", "queued"])]
    until(lambda: states(next(run for run in github.runs if run.id == slow.id)) == expected)
    runs = {run.id: run for run in github.runs}
    assert (runs[slow.id].status, runs[waiting.id].status) == ("in_progress", "queued")


def test_closing_ends_every_process_that_a_run_started(
    github: LoopbackGitHub, dispatch: Dispatch, tmp_path: Path
) -> None:
    run = dispatch("slow")
    file = tmp_path / "pids"
    pids = [int(pid) for pid in until(lambda: read(file).split() if file.exists() else [])]
    assert len(pids) == 2
    assert all(map(lives, pids))
    github.close()
    assert not any(map(lives, pids))
    over = next(each for each in github.runs if each.id == run.id)
    assert over.conclusion == "cancelled"
    assert conclusions(over) == {"resolve": "success", "build": "cancelled", "promote": "skipped"}
    assert not (over.folder / "private").exists()


def test_an_action_without_a_stand_in_fails_the_run_before_it_starts_and_is_named(tmp_path: Path) -> None:
    runner = ActRunner(tmp_path / "runner")
    with LoopbackGitHub(
        repository="octo/models", tree=DATA / "three-jobs", token="t", folder=tmp_path / "github", runner=runner
    ) as github:
        github.repository_dispatch({"event_type": "model", "client_payload": {"dispatch_id": "01J"}})
        run = github.wait(github.runs[0])
    assert run.conclusion == "startup_failure"
    assert "no local replacement for some/action@v1" in run.log


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in read(Path(f"/proc/{pid}/status"))
