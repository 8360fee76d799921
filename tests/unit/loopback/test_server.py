import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.loopback.github.limits import Limits
from tests.loopback.github.server import LoopbackGitHub

WORKFLOWS = {
    "on-event.yml": """\
name: On event
run-name: ${{ github.event.client_payload.id || inputs.payload }} ${{ vars.STAGE }}
on:
  repository_dispatch: {types: [mlflow-model-version]}
  workflow_dispatch: {inputs: {model: {required: true}, payload: {default: by hand}}}
concurrency: ${{ github.event.client_payload.group }}
""",
    "any.yml": "on: repository_dispatch",
    "push.yml": "{on: push, name: Push}",
}
RUNS = "/repos/octo/models/actions/runs"
DISPATCHES = "/repos/octo/models/dispatches"
BY_HAND = "/repos/octo/models/actions/workflows/on-event.yml/dispatches"


class Clock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree/.github/workflows"
    folder.mkdir(parents=True)
    for name, text in WORKFLOWS.items():
        (folder / name).write_text(text)
    return tmp_path / "tree"


Make = Callable[..., LoopbackGitHub]


@pytest.fixture
def make(tree: Path, tmp_path: Path, clock: Clock) -> Make:
    def make(**changes: Any) -> LoopbackGitHub:
        standard = {"repository": "octo/models", "token": "t0ken", "variables": {"STAGE": "test"}, "clock": clock}
        return LoopbackGitHub(**{**standard, "tree": tree, "folder": tmp_path / "github", **changes})

    return make


@pytest.fixture
def github(make: Make) -> LoopbackGitHub:
    return make()


class Client:
    """Asks the app without a network, signed in unless told otherwise."""

    def __init__(self, github: LoopbackGitHub, **headers: str) -> None:
        self._app = github.app
        self._headers = httpx2.Headers({"Authorization": "Bearer t0ken", **headers}, encoding="utf-8")

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(self._app)
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://testserver", headers=self._headers
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:
        return self.request("POST", path, **options)


@pytest.fixture
def client(github: LoopbackGitHub) -> Client:
    return Client(github)


def dispatch(client: Client, event_type: str = "mlflow-model-version", **payload: Any) -> httpx2.Response:
    return client.post(DISPATCHES, json={"event_type": event_type, "client_payload": payload})


def test_a_dispatch_is_answered_204_and_starts_each_workflow_that_listens(
    client: Client, github: LoopbackGitHub
) -> None:
    answer = dispatch(client, id="01J", model={"name": "模型"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert sorted((run.name, run.title) for run in github.runs) == [
        (".github/workflows/any.yml", "mlflow-model-version"),
        ("On event", "01J test"),
    ]
    assert github.dispatches[0].client_payload == {"id": "01J", "model": {"name": "模型"}}
    run = next(run for run in github.runs if run.name == "On event")
    assert run.payload["action"] == "mlflow-model-version"
    assert run.payload["branch"] == "main"
    assert run.payload["repository"]["full_name"] == "octo/models"
    assert run.payload["sender"] == {"login": "octo"}


def test_a_dispatch_that_no_workflow_wants_is_answered_204_too(tree: Path, make: Make) -> None:
    (tree / ".github/workflows/any.yml").unlink()
    github = make()
    assert dispatch(Client(github), "something else").status_code == 204
    assert github.runs == ()
    assert len(github.dispatches) == 1


def test_a_run_name_that_cannot_be_evaluated_is_a_startup_failure(tree: Path, make: Make) -> None:
    (tree / ".github/workflows/on-event.yml").write_text("{on: repository_dispatch, run-name: '${{ nope() }}'}")
    github = make()
    assert dispatch(Client(github)).status_code == 204
    assert {(run.title, run.conclusion) for run in github.runs} == {
        ("mlflow-model-version", None),
        (".github/workflows/on-event.yml", "startup_failure"),
    }


def test_a_pending_run_is_replaced_by_a_newer_one_of_its_group(client: Client, github: LoopbackGitHub) -> None:
    for number in range(3):
        dispatch(client, id=f"{number}", group="Iris")
    dispatch(client, id="other", group="wine")
    states = {run.title[:-5]: run.conclusion or run.status for run in github.runs if run.name == "On event"}
    assert states == {"0": "queued", "1": "cancelled", "2": "pending", "other": "queued"}


@pytest.mark.parametrize(
    ("version", "body", "status"),
    [("2022-11-28", {}, 204), ("2022-11-28", {"return_run_details": True}, 200), ("2026-03-10", {}, 200)],
)
def test_a_workflow_started_by_hand_tells_its_run_where_the_version_or_the_body_asks(
    client: Client, github: LoopbackGitHub, version: str, body: dict[str, Any], status: int
) -> None:
    answer = client.post(
        BY_HAND, json={"ref": "main", "inputs": {"model": "m"}, **body}, headers={"X-GitHub-Api-Version": version}
    )
    run = github.runs[0]
    assert (run.title, run.payload["inputs"]) == ("by hand test", {"model": "m", "payload": "by hand"})
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {
            "workflow_run_id": run.id,
            "run_url": f"http://testserver{RUNS}/{run.id}",
            "html_url": f"http://testserver/octo/models/actions/runs/{run.id}",
        }


@pytest.mark.parametrize(
    ("workflow", "body", "status", "message"),
    [
        ("on-event.yml", {"ref": "next"}, 422, "No ref found for: next"),
        ("push.yml", {"ref": "main"}, 422, "Workflow does not have 'workflow_dispatch' trigger"),
        ("none.yml", {"ref": "main"}, 404, "Not Found"),
    ],
)
def test_a_start_by_hand_that_does_not_fit_is_refused(
    client: Client, workflow: str, body: dict[str, Any], status: int, message: str
) -> None:
    answer = client.post(f"/repos/octo/models/actions/workflows/{workflow}/dispatches", json=body)
    assert (answer.status_code, answer.json()["message"]) == (status, message)


def test_runs_are_listed_newest_first_by_page_and_by_filter(client: Client, clock: Clock) -> None:
    for number in range(5):
        dispatch(client, id=f"{number}")
        clock.move(60)
    client.post(BY_HAND, json={"ref": "main", "inputs": {"model": "m"}})

    def titles(**query: str | int) -> list[str]:
        found = client.get(RUNS, params=query).json()["workflow_runs"]
        return [run["display_title"].removesuffix(" test") for run in found if run["name"] == "On event"]

    assert titles() == ["by hand", "4", "3", "2", "1", "0"]
    assert titles(event="workflow_dispatch") == ["by hand"]
    assert titles(per_page=1, page=1) == ["by hand"]
    assert titles(per_page=1, page=7) == titles(per_page=1, page=99) == []
    assert titles(created=">=2026-01-01T12:03:00Z") == ["by hand", "4", "3"]
    assert titles(created=">=2026-01-01T13:03:00+01:00") == ["by hand", "4", "3"]
    assert titles(created="<2026-01-01T12:01:00Z") == ["0"]
    assert client.get(RUNS, params={"per_page": 2}).json()["total_count"] == 11


def test_a_run_has_githubs_fields(client: Client, github: LoopbackGitHub) -> None:
    client.post(BY_HAND, json={"ref": "main", "inputs": {"model": "m"}})
    run = client.get(f"{RUNS}/{github.runs[0].id}").json()
    expected = {
        "display_title": "by hand test",
        "event": "workflow_dispatch",
        "status": "queued",
        "conclusion": None,
        "path": ".github/workflows/on-event.yml",
        "run_number": 1,
        "run_attempt": 1,
    }
    assert run | expected == run
    assert (run["head_branch"], run["head_sha"]) == ("main", "0" * 40)
    assert run["created_at"] == run["updated_at"] == run["run_started_at"] == "2026-01-01T12:00:00Z"
    assert client.get(f"{RUNS}/1").status_code == 404


def test_an_unchanged_list_is_answered_304_and_costs_nothing(client: Client) -> None:
    first = client.get(RUNS)
    again = client.get(RUNS, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-ratelimit-used"] == first.headers["x-ratelimit-used"] == "1"
    dispatch(client)
    changed = client.get(RUNS, headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status_code, changed.json()["total_count"]) == (200, 2)


def test_the_repository_and_its_workflows_are_listed(client: Client) -> None:
    assert client.get("/repos/Octo/MODELS").json()["full_name"] == "octo/models"
    workflows = client.get("/repos/octo/models/actions/workflows").json()["workflows"]
    assert [(each["name"], each["path"]) for each in workflows] == [
        (".github/workflows/any.yml", ".github/workflows/any.yml"),
        ("On event", ".github/workflows/on-event.yml"),
        ("Push", ".github/workflows/push.yml"),
    ]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Bearer t0ken2", "Basic t0ken", "Bearer tökén"])
def test_a_wrong_token_is_answered_401(github: LoopbackGitHub, header: str) -> None:
    answer = dispatch(Client(github, Authorization=header))
    assert answer.status_code == 401
    assert answer.json() == {
        "message": "Bad credentials" if header else "Requires authentication",
        "documentation_url": "https://docs.github.com/rest",
        "status": "401",
    }
    assert github.dispatches == ()


def test_an_expired_token_is_answered_401_and_a_living_one_tells_its_end(make: Make, clock: Clock) -> None:
    client = Client(make(expires=clock.now + timedelta(hours=1)))
    assert client.get(RUNS).headers["github-authentication-token-expiration"] == "2026-01-01 13:00:00 UTC"
    clock.move(3600)
    assert client.get(RUNS).status_code == 401


@pytest.mark.parametrize(
    ("permissions", "method", "path", "needed"),
    [
        ({"metadata": "read", "contents": "read"}, "POST", DISPATCHES, "contents=write"),
        ({"metadata": "read", "contents": "write"}, "GET", RUNS, "actions=read"),
        ({"metadata": "read", "actions": "read"}, "POST", BY_HAND, "actions=write"),
    ],
)
def test_a_permission_that_is_missing_is_named(
    make: Make, permissions: dict[str, str], method: str, path: str, needed: str
) -> None:
    answer = Client(make(permissions=permissions)).request(method, path, json={"event_type": "t", "ref": "main"})
    assert answer.status_code == 403
    assert answer.json()["message"] == "Resource not accessible by personal access token"
    assert answer.headers["X-Accepted-GitHub-Permissions"] == needed


def test_a_repository_that_the_token_cannot_see_is_not_found(make: Make, client: Client) -> None:
    assert dispatch(Client(make(permissions={}))).json()["message"] == "Not Found"
    for path in ("/repos/octo/other/dispatches", "/repos/octo/models/nothing"):
        answer = client.post(path, json={"event_type": "t"})
        assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")


def test_a_request_without_user_agent_is_forbidden(github: LoopbackGitHub) -> None:
    answer = Client(github, **{"User-Agent": ""}).get(RUNS)
    assert answer.status_code == 403
    assert "User-Agent" in answer.text


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{", 400),
        ({}, b"[]", 400),
        ({}, b"\xff", 400),
        ({"X-GitHub-Api-Version": "2020-01-01"}, b"{}", 400),
        ({"Accept": "text/html"}, b"{}", 415),
        ({}, b"{}", 422),
    ],
)
def test_what_github_cannot_read_is_refused(client: Client, headers: dict[str, str], body: bytes, status: int) -> None:
    assert client.post(DISPATCHES, content=body, headers=headers).status_code == status


def test_the_hours_requests_run_out_and_come_back(make: Make, clock: Clock) -> None:
    client = Client(make(limits=Limits(requests_an_hour=2)))
    assert client.get(RUNS).headers["x-ratelimit-remaining"] == "1"
    client.get(RUNS)
    refused = client.get(RUNS)
    assert refused.status_code == 403
    assert re.match("API rate limit exceeded", refused.json()["message"])
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert refused.headers["x-ratelimit-reset"] == str(int((clock.now + timedelta(hours=1)).timestamp()))
    assert client.get("/rate_limit").json()["rate"]["remaining"] == 0
    clock.move(3600)
    assert client.get(RUNS).status_code == 200


def test_too_much_content_in_a_minute_is_a_secondary_limit(client: Client, clock: Clock) -> None:
    assert [dispatch(client).status_code for _ in range(80)] == [204] * 80
    refused = dispatch(client)
    assert refused.status_code == 403
    assert refused.headers["Retry-After"] == "60"
    assert refused.json()["message"].startswith("You have exceeded a secondary rate limit")
    assert client.get(RUNS).status_code == 200
    clock.move(60)
    assert dispatch(client).status_code == 204


def test_a_runs_page_needs_no_sign_in(github: LoopbackGitHub, client: Client) -> None:
    dispatch(client, id="01J")
    page = Client(github, Authorization="").get(f"/octo/models/actions/runs/{github.runs[-1].id}")
    assert page.status_code == 200
    assert "queued" in page.text
