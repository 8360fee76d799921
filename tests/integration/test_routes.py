"""Routes from a file, in a real bridge: both ways out to GitHub."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import REPOSITORY
from tests.integration.deliveries import VALID, post, rows
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer
from tests.waiting import until

VERSION, ALIAS, TAG = VALID
ROUTES = f"""
[[route]]
name = "all"
repository = "{REPOSITORY}"
inputs = {{smoke-test = "ping"}}

[[route]]
name = "champions"
repository = "{REPOSITORY}"
alias = "champ*"
dispatch = "workflow_dispatch"
workflow = "on-mlflow-event.yml"
ref = "main"
"""


@pytest.fixture
def settings(settings: dict[str, str], tmp_path: Path) -> dict[str, str]:
    (tmp_path / "routes.toml").write_text(ROUTES)
    return {**settings, "GITHUB_REPOSITORY": "", "ROUTES_FILE": str(tmp_path / "routes.toml")}


@pytest.fixture(params=["2022-11-28", "2026-03-10"])
def bridge(settings: dict[str, str], folder: Path, request: pytest.FixtureRequest) -> Iterator[BridgeServer]:
    with BridgeServer({**settings, "GITHUB_API_VERSION": request.param}, folder) as server:
        yield server


def test_an_alias_goes_out_by_both_routes_and_each_run_is_named_by_its_dispatch(
    bridge: BridgeServer, github: LoopbackGitHub, folder: Path
) -> None:
    assert post(bridge.url, ALIAS).json()["status"] == "submitted"
    until(lambda: len(github.runs) == 2)
    until(lambda: len(rows(folder, "SELECT 1 FROM dispatches WHERE run_id IS NOT NULL")) == 1)
    by_route = {
        route: (dispatch_id, run_id)
        for route, dispatch_id, run_id in rows(folder, "SELECT route, id, run_id FROM dispatches")
    }
    runs = {run.event: run for run in github.runs}
    assert runs["repository_dispatch"].title.startswith(by_route["all"][0])
    assert runs["workflow_dispatch"].title.startswith(by_route["champions"][0])
    assert by_route["champions"][1] == runs["workflow_dispatch"].id
    inputs = runs["workflow_dispatch"].payload["inputs"]
    assert (inputs["model"], inputs["version"], inputs["alias"]) == ("模型 (EU)", "7", "champion")
    assert json.loads(inputs["payload"])["dispatch_id"] == by_route["champions"][0]
    assert runs["repository_dispatch"].payload["client_payload"]["inputs"] == {"smoke-test": "ping"}


def test_a_version_goes_out_by_the_one_route_that_wants_it_and_a_tag_by_none(
    bridge: BridgeServer, github: LoopbackGitHub, folder: Path
) -> None:
    assert post(bridge.url, VERSION).json()["status"] == "submitted"
    assert post(bridge.url, TAG).json()["status"] == "ignored"
    until(lambda: len(github.runs) == 1)
    assert rows(folder, "SELECT route FROM dispatches") == [("all",)]
