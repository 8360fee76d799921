"""What is asked of GitHub about a repository: paths, queries, and bodies that start nothing."""

import json

import httpx
import pytest
import respx

from bridge.github.client import GithubApi, StaticToken
from bridge.github.repository import GithubRepository, Reply, Silence

pytestmark = pytest.mark.anyio

URL = "https://ghes.example/api/v3"
ROOT = "/api/v3/repos/owner/models"


@pytest.fixture
def github() -> respx.MockRouter:
    return respx.mock(base_url="https://ghes.example", assert_all_called=False)


async def test_a_trial_dispatch_lacks_what_github_requires(github: respx.MockRouter) -> None:
    with github:
        event = github.post(f"{ROOT}/dispatches").respond(422, json={"message": "Invalid\nrequest."})
        by_file = github.post(f"{ROOT}/actions/workflows/a.yml/dispatches").respond(422, json={"message": "no ref"})
        async with GithubApi(URL, StaticToken("token")) as api:
            repository = GithubRepository(api, "owner/models")
            answer = await repository.try_dispatch()
            await repository.try_workflow_dispatch("a.yml")
    assert json.loads(event.calls.last.request.content) == {}
    assert json.loads(by_file.calls.last.request.content) == {}
    assert isinstance(answer, Reply)
    assert (answer.status, answer.message) == (422, "Invalid request.")


async def test_everything_is_asked_for_where_github_has_it(github: respx.MockRouter) -> None:
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
    assert answers[0] == Reply(200, "x", answers[0].headers if isinstance(answers[0], Reply) else {})
    assert all(isinstance(each, Reply) and each.headers["date"] == "now" and each.json is None for each in answers)


async def test_no_answer_is_silence(github: respx.MockRouter) -> None:
    with github:
        github.get(ROOT).mock(side_effect=httpx.ConnectTimeout("x"))
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await GithubRepository(api, "owner/models").about() == Silence("ConnectTimeout")
