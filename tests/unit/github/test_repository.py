"""Requests about a repository: paths, queries, and bodies that start no run."""

import json

import httpx2
import pytest
import respx

from bridge.github.client import GithubApi, StaticToken
from bridge.github.repository import GithubRepository
from bridge.github.responses import Answer, NotSent

pytestmark = pytest.mark.anyio

URL = "https://ghes.example/api/v3"
ROOT = "/api/v3/repos/owner/models"


@pytest.fixture
def github() -> respx.MockRouter:
    return respx.mock(using="httpcore2", base_url="https://ghes.example", assert_all_called=False)


async def test_a_trial_dispatch_omits_a_required_field(github: respx.MockRouter) -> None:
    with github:
        event = github.post(f"{ROOT}/dispatches").respond(422, json={"message": "Invalid\nrequest."})
        by_file = github.post(f"{ROOT}/actions/workflows/a.yml/dispatches").respond(422, json={"message": "no ref"})
        async with GithubApi(URL, StaticToken("token")) as api:
            repository = GithubRepository(api, "owner/models")
            answer = await repository.try_dispatch()
            await repository.try_workflow_dispatch("a.yml")
    assert json.loads(event.calls.last.request.content) == {}
    assert json.loads(by_file.calls.last.request.content) == {}
    assert isinstance(answer, Answer)
    assert (answer.status, answer.message) == (422, "Invalid request.")


async def test_each_request_has_the_path_of_githubs_documentation(github: respx.MockRouter) -> None:
    with github:
        asked = github.get(url__startswith=f"https://ghes.example{ROOT}").respond(
            200, text="x", headers={"Date": "now"}
        )
        async with GithubApi(URL, StaticToken("token")) as api:
            repository = GithubRepository(api, "owner/models")
            answers = [
                await repository.about(),
                await repository.workflow_files("main"),
                await repository.workflow_file("a.yml", "v1"),
                await repository.workflows(),
                await repository.runs(),
                await repository.actions(),
            ]
    paths = [str(call.request.url).removeprefix(f"https://ghes.example{ROOT}") for call in asked.calls]
    assert paths == [
        "",
        "/contents/.github/workflows?ref=main",
        "/contents/.github/workflows/a.yml?ref=v1",
        "/actions/workflows?per_page=100",
        "/actions/runs?per_page=1",
        "/actions/permissions",
    ]
    assert "raw" in asked.calls[2].request.headers["accept"]
    assert answers == [Answer(200, {"date": "now"})] * 6
    assert all(isinstance(answer, Answer) and answer.text == "x" and answer.json is None for answer in answers)


async def test_a_request_that_was_not_sent_has_a_cause(github: respx.MockRouter) -> None:
    with github:
        github.get(ROOT).mock(side_effect=httpx2.ConnectTimeout("x"))
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await GithubRepository(api, "owner/models").about() == NotSent("ConnectTimeout")
