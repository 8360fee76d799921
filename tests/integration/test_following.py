"""Dispatches followed to the end of their runs: a real bridge, a real MLflow, a loopback GitHub."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from bridge.mlflow.client import MlflowApi
from tests.integration.conftest import REPOSITORY, TOKEN
from tests.integration.deliveries import body, post, rows, rows_of
from tests.integration.fast_bridge import WORKFLOW, FakeRunner, QuickBridge
from tests.loopback.github.limits import Limits
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import MlflowServer
from tests.waiting import until

STATES = "select state from dispatches order by id"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree" / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "on-mlflow-event.yml").write_text(WORKFLOW)
    return tmp_path / "tree"


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def permissions() -> dict[str, str]:
    return {"metadata": "read", "contents": "write", "actions": "write"}


@pytest.fixture
def github(tmp_path: Path, tree: Path, runner: FakeRunner, permissions: dict[str, str]) -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub(
        repository=REPOSITORY,
        tree=tree,
        token=TOKEN,
        folder=tmp_path / "github",
        runner=runner,
        permissions=permissions,
        limits=Limits(requests_an_hour=10**6, content_a_minute=10**6, content_an_hour=10**6),
    ) as github:
        yield github


@pytest.fixture
def bridge(settings: dict[str, str], folder: Path) -> Iterator[QuickBridge]:
    with QuickBridge(settings | {"GITHUB_POLL_INTERVAL": "0.1"}, folder) as bridge:
        yield bridge


def deliver(bridge: QuickBridge, model: str, version: str = "1") -> None:
    event = body("model_version.created", {"name": model, "version": version, "source": "models:/m-1", "run_id": None})
    assert post(bridge.url, event).status_code == 202


def states(bridge: QuickBridge) -> list[str]:
    return [state for (state,) in rows(bridge.folder, STATES)]


def test_a_run_is_found_and_followed_to_its_success(
    bridge: QuickBridge, github: LoopbackGitHub, runner: FakeRunner
) -> None:
    runner.go_on.clear()
    deliver(bridge, "iris")
    until(lambda: states(bridge) == ["running"])
    (row,) = rows(bridge.folder, "select run_id, run_url from dispatches")
    assert row == (github.runs[0].id, github.page(github.runs[0]))
    runner.go_on.set()
    until(lambda: states(bridge) == ["succeeded"])
    assert bridge.degraded() == []


def test_a_run_that_fails_is_failed_until_it_is_run_again(
    bridge: QuickBridge, github: LoopbackGitHub, runner: FakeRunner
) -> None:
    runner.conclusions["iris"] = "failure"
    deliver(bridge, "iris")
    until(lambda: states(bridge) == ["failed"])
    runner.conclusions.clear()
    runner.go_on.clear()
    github.rerun(github.runs[0])
    until(lambda: states(bridge) == ["running"])
    runner.go_on.set()
    until(lambda: states(bridge) == ["succeeded"])
    assert len(github.dispatches) == 1


def test_a_cancelled_run_is_cancelled(bridge: QuickBridge, runner: FakeRunner) -> None:
    runner.conclusions["iris"] = "cancelled"
    deliver(bridge, "iris")
    until(lambda: states(bridge) == ["cancelled"])


def test_a_run_that_makes_way_for_a_newer_one_is_superseded(
    bridge: QuickBridge, github: LoopbackGitHub, runner: FakeRunner
) -> None:
    runner.go_on.clear()
    for version in ("1", "2", "3"):
        deliver(bridge, "iris", version)
        until(lambda version=version: len(github.dispatches) == int(version))  # type: ignore[misc]
    until(lambda: states(bridge) == ["running", "superseded", "running"])
    runner.go_on.set()
    until(lambda: states(bridge) == ["succeeded", "superseded", "succeeded"])


def test_a_dispatch_that_nobody_listens_to_is_unseen_and_says_what_to_check(
    bridge: QuickBridge, github: LoopbackGitHub, tree: Path
) -> None:
    workflow = tree / ".github" / "workflows" / "on-mlflow-event.yml"
    workflow.write_text(WORKFLOW.replace("mlflow-model-version", "something-else"))
    deliver(bridge, "iris")
    until(lambda: states(bridge) == ["unseen"])
    ((reason,),) = rows(bridge.folder, "select reason from dispatches")
    assert "'mlflow-model-version'" in reason
    assert github.runs == ()


@pytest.mark.parametrize("permissions", [{"metadata": "read", "contents": "write"}])
def test_a_token_that_may_not_read_actions_is_reported_and_nothing_is_unseen(
    bridge: QuickBridge, github: LoopbackGitHub
) -> None:
    deliver(bridge, "iris")
    until(lambda: bridge.degraded() != [])
    (said,) = bridge.degraded()
    assert said.startswith(f"the runs of {REPOSITORY} can't be read (403")
    assert "actions=read" in said
    until(lambda: len(github.runs) == 1)
    until(lambda: states(bridge) == ["sent"])


def test_many_dispatches_cost_few_requests(bridge: QuickBridge, github: LoopbackGitHub, runner: FakeRunner) -> None:
    runner.go_on.clear()
    for number in range(120):
        deliver(bridge, f"model-{number}")
    until(lambda: states(bridge) == ["running"] * 120)
    headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "test"}

    def used() -> int:
        answer = httpx2.get(f"{github.url}/rate_limit", headers=headers, trust_env=False)
        return int(answer.json()["rate"]["used"])

    until(lambda: states(bridge) == ["running"] * 120)
    before = used()
    time.sleep(2)  # some twenty polls, of lists that have not changed: those are free
    assert used() - before <= 2
    runner.go_on.set()
    until(lambda: states(bridge) == ["succeeded"] * 120)


def test_a_workflow_dispatch_knows_its_run_at_once_and_is_followed_too(
    settings: dict[str, str], folder: Path, github: LoopbackGitHub, runner: FakeRunner, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text(
        f'[[route]]\nname = "by hand"\nrepository = "{REPOSITORY}"\ndispatch = "workflow_dispatch"\n'
        'workflow = "on-mlflow-event.yml"\nref = "main"\n'
    )
    environment = settings | {"GITHUB_POLL_INTERVAL": "0.1", "ROUTES_FILE": str(routes)}
    del environment["GITHUB_REPOSITORY"]
    with QuickBridge(environment, folder) as bridge:
        deliver(bridge, "iris")
        until(lambda: states(bridge) == ["succeeded"])
        ((run_id, url),) = rows(folder, "select run_id, run_url from dispatches")
    assert [run.event for run in github.runs] == ["workflow_dispatch"]
    assert (run_id, url) == (github.runs[0].id, github.page(github.runs[0]))


def test_at_a_runs_end_the_ledger_knows_the_image(
    settings: dict[str, str],
    folder: Path,
    github: LoopbackGitHub,
    mlflow_server: MlflowServer,
    mlflow_api: MlflowApi,
    registered: str,
    model_name: str,
) -> None:
    mlflow_api.set_version_tag(model_name, "1", "image.uri", "ghcr.io/owner/iris@sha256:1")
    mlflow_api.set_version_tag(model_name, "1", "image.status", "pushed")
    environment = settings | {"GITHUB_POLL_INTERVAL": "0.1", "MLFLOW_TRACKING_URI": mlflow_server.url}
    with QuickBridge(environment, folder) as bridge:
        deliver(bridge, model_name)
        until(lambda: states(bridge) == ["succeeded"])
        assert rows(folder, "select model, version, image_uri, image_status from versions") == [
            (model_name, "1", "ghcr.io/owner/iris@sha256:1", "pushed")
        ]


def test_a_bridge_that_was_down_finds_the_end_of_its_runs(
    settings: dict[str, str], folder: Path, github: LoopbackGitHub, runner: FakeRunner
) -> None:
    runner.go_on.clear()
    bridge = QuickBridge(settings | {"GITHUB_POLL_INTERVAL": "0.1"}, folder)
    with bridge:
        deliver(bridge, "iris")
        until(lambda: states(bridge) == ["running"])
        bridge.kill()
    runner.go_on.set()
    github.wait(github.runs[0])
    with bridge:
        until(lambda: states(bridge) == ["succeeded"])  # once the lease of the killed one is over


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_nul_in_a_tag_of_one_model_stops_the_follower_for_nobody(
    kind: str,
    request: pytest.FixtureRequest,
    settings: dict[str, str],
    folder: Path,
    runner: FakeRunner,
    mlflow_server: MlflowServer,
    mlflow_api: MlflowApi,
    registered: str,
    model_name: str,
) -> None:
    postgres = kind == "postgresql"
    database = request.getfixturevalue("postgres").database() if postgres else f"sqlite:///{folder}/ledger.db"
    mlflow_api.set_version_tag(model_name, "1", "image.uri", "ghcr.io/a\0b")
    mlflow_api.set_version_tag(model_name, "1", "image.status", "\x1b[2Jpushed")
    runner.go_on.clear()
    environment = settings | {"GITHUB_POLL_INTERVAL": "0.1", "MLFLOW_TRACKING_URI": mlflow_server.url}
    with QuickBridge(environment | {"DATABASE_URL": database}, folder) as bridge:
        for model in (model_name, "iris", "wine"):
            deliver(bridge, model)
        until(lambda: rows_of(database, STATES) == [("running",)] * 3)
        runner.go_on.set()
        until(lambda: rows_of(database, STATES) == [("succeeded",)] * 3)
        assert bridge.degraded() == []
        assert "Traceback" not in bridge.log.read_text()
    found = dict(rows_of(database, "select model, image_uri from versions"))
    assert found[model_name] == "ghcr.io/a\N{REPLACEMENT CHARACTER}b"
