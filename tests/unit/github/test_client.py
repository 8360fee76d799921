import json
import ssl

import httpx
import httpx2
import pytest
import respx

from bridge.core.requests import build
from bridge.core.routing import DispatchMethod
from bridge.github.client import ActionsUnreadable, GithubApi, Page, Quota, RunLookupFailed, SignInFailed, StaticToken
from bridge.github.responses import Answer, NotSent, Outcome, Unanswered

pytestmark = pytest.mark.anyio

URL = "https://ghes.example/api/v3"
DISPATCHES = "/api/v3/repos/owner/models/dispatches"
RUNS = "/api/v3/repos/owner/models/actions/runs"
ID = "01J0000000000000000000000A"
DISPATCH = build(DispatchMethod.REPOSITORY, '{"name": "模"}', repository="owner/models", event_type="type")


@pytest.fixture
def github() -> respx.MockRouter:
    return respx.mock(using="httpcore2", base_url="https://ghes.example", assert_all_called=False)


def run(number: int, title: str) -> dict[str, object]:
    return {"id": number, "html_url": f"https://ghes.example/{number}", "display_title": title, "status": "queued"}


async def test_a_dispatch_carries_type_payload_token_and_version(github: respx.MockRouter) -> None:
    with github:
        asked = github.post(DISPATCHES).respond(204)
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.dispatch(DISPATCH) == Answer(204)
    request = asked.calls.last.request
    assert json.loads(request.content) == {"event_type": "type", "client_payload": {"name": "模"}}
    assert request.headers["authorization"] == "Bearer token"
    assert request.headers["x-github-api-version"] == "2022-11-28"
    assert request.headers["accept"] == "application/vnd.github+json"
    assert request.headers["user-agent"].startswith("mlflow-actions-bridge/")


async def test_a_refusal_keeps_its_status_message_and_known_headers(github: respx.MockRouter) -> None:
    with github:
        github.post(DISPATCHES).respond(403, json={"message": "no"}, headers={"Retry-After": "7", "X-Else": "x"})
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.dispatch(DISPATCH) == Answer(403, {"retry-after": "7"}, "no")


@pytest.mark.parametrize("body", ["<html>", "[]", "", "1"])
async def test_the_error_page_of_a_proxy_has_no_message(github: respx.MockRouter, body: str) -> None:
    with github:
        github.post(DISPATCHES).respond(502, text=body)
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.dispatch(DISPATCH) == Answer(502)


async def test_a_redirect_is_not_followed_with_the_token(github: respx.MockRouter) -> None:
    with github:
        github.post(DISPATCHES).respond(307, headers={"Location": "https://elsewhere.example"})
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.dispatch(DISPATCH) == Answer(307)


@pytest.mark.parametrize("failure", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError])
async def test_what_never_left_is_not_sent(github: respx.MockRouter, failure: type[httpx2.HTTPError]) -> None:
    with github:
        github.post(DISPATCHES).mock(side_effect=failure("no"))
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.dispatch(DISPATCH) == NotSent(failure.__name__)


@pytest.mark.parametrize(
    "failure",
    [httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError],
)
async def test_what_may_have_left_is_unanswered(github: respx.MockRouter, failure: type[httpx2.HTTPError]) -> None:
    with github:
        github.post(DISPATCHES).mock(side_effect=failure("no"))
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.dispatch(DISPATCH) == Unanswered(failure.__name__)


async def test_a_run_is_found_by_the_id_at_the_start_of_its_title(github: respx.MockRouter) -> None:
    with github:
        asked = github.get(RUNS).respond(
            json={"workflow_runs": [run(1, f"about {ID}"), run(2, "other"), run(3, f"{ID} iris 7")]}
        )
        async with GithubApi(URL, StaticToken("token")) as api:
            result = await api.find_run("owner/models", ID)
    assert result is not None
    assert (result.id, result.html_url) == (3, "https://ghes.example/3")
    assert "created" not in asked.calls.last.request.url.params


async def test_a_run_is_searched_on_at_most_ten_pages(github: respx.MockRouter) -> None:
    with github:
        asked = github.get(RUNS).respond(json={"workflow_runs": [run(1, "other")] * 100})
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.find_run("owner/models", ID) is None
    assert [call.request.url.params["page"] for call in asked.calls] == [str(page) for page in range(1, 11)]


async def test_a_short_page_is_the_last(github: respx.MockRouter) -> None:
    with github:
        asked = github.get(RUNS).respond(json={"workflow_runs": []})
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.find_run("owner/models", ID) is None
    assert asked.call_count == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.Response(404, json={"message": "Not Found"}), Answer(404, {}, "Not Found")),
        (httpx.Response(200, text="<html>"), Answer(502, {}, "the response is not a list of runs")),
        (httpx.Response(200, json={"workflow_runs": [{}]}), Answer(502, {}, "the response is not a list of runs")),
        (
            httpx.Response(200, json={"workflow_runs": [run(1, "x")] * 101}),
            Answer(502, {}, "the response is not a list of runs"),
        ),
        (httpx2.ReadTimeout("no"), Unanswered("ReadTimeout")),
        (ssl.SSLError("bad record"), Unanswered("the response was cut off: SSLError")),
        (httpx2.ConnectError(str(ssl.SSLError("x"))), NotSent("ConnectError")),
    ],
)
async def test_an_answer_that_is_not_a_list_of_runs_is_an_error(
    github: respx.MockRouter, answer: httpx.Response | Exception | type[Exception], outcome: Outcome
) -> None:
    with github:
        github.get(RUNS).mock(side_effect=[answer])
        async with GithubApi(URL, StaticToken("token")) as api:
            with pytest.raises(RunLookupFailed) as failed:
                await api.find_run("owner/models", ID)
    assert failed.value.outcome == outcome


@pytest.mark.parametrize("status", [403, 404])
async def test_a_token_that_may_not_read_actions_is_an_error_of_its_own_with_a_hint(
    github: respx.MockRouter, status: int
) -> None:
    with github:
        github.get(RUNS).respond(status, json={"message": "Resource not accessible"})
        async with GithubApi(URL, StaticToken("token")) as api:
            with pytest.raises(ActionsUnreadable) as failed:
                await api.find_run("owner/models", ID)
    assert "owner/models" in failed.value.message
    assert "actions=read" in failed.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403, json={"message": "You have exceeded a secondary rate limit."}),
        httpx.Response(429, json={"message": "slow down"}),
        httpx.Response(401, json={"message": "Bad credentials"}),
        httpx.Response(502, text="<html>"),
    ],
)
async def test_limits_and_failures_are_not_missing_permissions(
    github: respx.MockRouter, answer: httpx.Response
) -> None:
    with github:
        github.get(RUNS).mock(side_effect=[answer])
        async with GithubApi(URL, StaticToken("token")) as api:
            with pytest.raises(RunLookupFailed) as failed:
                await api.find_run("owner/models", ID)
    assert type(failed.value) is RunLookupFailed
    assert str(answer.status_code) in str(failed.value)


async def pages(api: GithubApi, since: float | None = None) -> list[Page]:
    return [page async for page in api.list_runs("owner/models", since=since)]


async def test_runs_are_listed_from_a_full_hour_with_room_for_clock_skew(github: respx.MockRouter) -> None:
    noon = 1_700_049_600.0
    with github:
        asked = github.get(RUNS).respond(json={"workflow_runs": []})
        async with GithubApi(URL, StaticToken("token")) as api:
            await pages(api, noon + 1800)
            await pages(api, noon + 3599)
            await pages(api, 0.0)
    assert [call.request.url.params["created"] for call in asked.calls] == [
        ">=2023-11-15T10:00:00Z",
        ">=2023-11-15T10:00:00Z",
        ">=1970-01-01T00:00:00Z",
    ]


async def test_a_page_is_requested_only_when_it_is_needed(github: respx.MockRouter) -> None:
    with github:
        asked = github.get(RUNS).respond(json={"workflow_runs": [run(1, ID)] * 100})
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.find_run("owner/models", ID)
    assert asked.call_count == 1


async def test_a_list_that_has_not_changed_is_not_sent_again(github: respx.MockRouter) -> None:
    with github:
        asked = github.get(RUNS)
        asked.side_effect = [
            httpx.Response(200, json={"workflow_runs": [run(1, ID)]}, headers={"ETag": 'W/"1"'}),
            httpx.Response(304),
            httpx.Response(200, json={"workflow_runs": []}, headers={"ETag": 'W/"2"'}),
            httpx.Response(200, json={"workflow_runs": []}),
        ]
        async with GithubApi(URL, StaticToken("token")) as api:
            first, second, third = await pages(api), await pages(api), await pages(api)
            await pages(api, 1_700_000_000.0)
    assert first == second
    assert first[0].runs[0].id == 1
    assert third == [Page((), is_last=True)]
    sent = [call.request.headers.get("if-none-match") for call in asked.calls]
    assert sent == [None, 'W/"1"', 'W/"1"', None]


@pytest.mark.parametrize("etag", [b"\xc3\xa9", b"x" * 5000])
async def test_an_etag_that_cannot_be_sent_back_is_not_kept(github: respx.MockRouter, etag: bytes) -> None:
    with github:
        answer = httpx.Response(200, json={"workflow_runs": []}, headers=[(b"etag", etag)])
        asked = github.get(RUNS).mock(return_value=answer)
        async with GithubApi(URL, StaticToken("token")) as api:
            await pages(api)
            await pages(api)
    assert "if-none-match" not in asked.calls.last.request.headers


async def test_lists_that_are_no_longer_requested_are_dropped(github: respx.MockRouter) -> None:
    with github:
        asked = github.get(RUNS).respond(json={"workflow_runs": []}, headers={"ETag": "e"})
        async with GithubApi(URL, StaticToken("token")) as api:
            for hour in range(65):
                await pages(api, 1_700_000_000.0 + hour * 3600)
            await pages(api, 1_700_000_000.0)
    assert "if-none-match" not in asked.calls.last.request.headers


async def test_one_run_is_read_and_a_deleted_one_is_none(github: respx.MockRouter) -> None:
    with github:
        github.get(f"{RUNS}/7").respond(json=run(7, ID) | {"status": "completed", "conclusion": "failure"})
        github.get(f"{RUNS}/8").respond(404, json={"message": "Not Found"})
        github.get(f"{RUNS}/9").respond(200, text="<html>")
        async with GithubApi(URL, StaticToken("token")) as api:
            result = await api.read_run("owner/models", 7)
            assert result is not None
            assert (result.id, result.status, result.conclusion) == (7, "completed", "failure")
            assert await api.read_run("owner/models", 8) is None
            with pytest.raises(RunLookupFailed):
                await api.read_run("owner/models", 9)


async def test_the_list_that_is_requested_most_is_not_dropped(
    github: respx.MockRouter,
) -> None:
    with github:
        asked = github.get(RUNS).respond(json={"workflow_runs": []}, headers={"ETag": "e"})
        async with GithubApi(URL, StaticToken("token")) as api:
            await pages(api, 0.0)
            asked.respond(304)
            await pages(api, 0.0)
            asked.respond(json={"workflow_runs": []}, headers={"ETag": "e"})
            for hour in range(100):
                await pages(api, 1_700_000_000.0 + hour * 3600)
                if hour % 10 == 0:
                    asked.respond(304)
                    await pages(api, 0.0)
                    asked.respond(json={"workflow_runs": []}, headers={"ETag": "e"})
    always = [call for call in asked.calls if call.request.url.params["created"].startswith(">=1970")]
    assert ["if-none-match" in call.request.headers for call in always] == [False, *[True] * 11]


WORKFLOW = "/api/v3/repos/owner/models/actions/workflows/on-mlflow-event.yml/dispatches"
PAYLOAD = json.dumps({"dispatch_id": ID, "model": {"name": "模", "version": "7", "alias": None}})
BY_WORKFLOW = build(
    DispatchMethod.WORKFLOW,
    PAYLOAD,
    repository="owner/models",
    event_type="type",
    workflow="on-mlflow-event.yml",
    ref="main",
)
STARTED = {"workflow_run_id": 9, "run_url": "https://api/9", "html_url": "https://ghes.example/9"}
RUN_DETAILS = "return_run_details"


async def test_a_workflow_dispatch_has_inputs_and_its_answer_names_the_run(
    github: respx.MockRouter,
) -> None:
    with github:
        asked = github.post(WORKFLOW).respond(200, json=STARTED)
        async with GithubApi(URL, StaticToken("token")) as api:
            answer = await api.dispatch(BY_WORKFLOW)
    assert answer == Answer(200, run_id=9, run_url="https://ghes.example/9")
    assert json.loads(asked.calls.last.request.content) == {
        "ref": "main",
        "inputs": {"model": "模", "version": "7", "payload": PAYLOAD},
        RUN_DETAILS: True,
    }


@pytest.mark.parametrize("answer", [httpx.Response(204), httpx.Response(200, json={}), httpx.Response(200, text="ok")])
async def test_an_answer_that_names_no_run_is_a_success(github: respx.MockRouter, answer: httpx.Response) -> None:
    with github:
        github.post(WORKFLOW).mock(side_effect=[answer])
        async with GithubApi(URL, StaticToken("token")) as api:
            outcome = await api.dispatch(BY_WORKFLOW)
    assert outcome == Answer(answer.status_code)


async def test_a_server_that_refuses_to_name_the_run_is_not_asked_for_it_again(
    github: respx.MockRouter,
) -> None:
    with github:
        asked = github.post(WORKFLOW)
        refusal = httpx.Response(400, json={"message": '"return_run_details" is not a permitted key.'})
        asked.side_effect = [refusal, httpx.Response(204), httpx.Response(204)]
        async with GithubApi(URL, StaticToken("token")) as api:
            for _ in range(2):
                outcome = await api.dispatch(BY_WORKFLOW)
                assert outcome == Answer(204)
    assert [RUN_DETAILS in json.loads(call.request.content) for call in asked.calls] == [True, False, False]


async def test_an_invalid_request_stays_refused(github: respx.MockRouter) -> None:
    with github:
        asked = github.post(WORKFLOW).respond(400, json={"message": "Problems parsing JSON"})
        async with GithubApi(URL, StaticToken("token")) as api:
            for _ in range(2):
                outcome = await api.dispatch(BY_WORKFLOW)
                assert outcome == Answer(400, {}, "Problems parsing JSON")
    assert [RUN_DETAILS in json.loads(call.request.content) for call in asked.calls] == [True, False, True, False]


async def test_the_newest_api_version_names_the_run_without_being_asked(github: respx.MockRouter) -> None:
    with github:
        asked = github.post(WORKFLOW).respond(200, json=STARTED)
        async with GithubApi(URL, StaticToken("token"), api_version="2026-03-10") as api:
            await api.dispatch(BY_WORKFLOW)
    assert asked.calls.last.request.headers["x-github-api-version"] == "2026-03-10"
    assert RUN_DETAILS not in json.loads(asked.calls.last.request.content)


@pytest.mark.parametrize("failure", [httpx2.ReadTimeout, httpx2.ConnectError])
async def test_a_failed_workflow_dispatch_may_have_been_sent_or_not(
    github: respx.MockRouter, failure: type[httpx2.HTTPError]
) -> None:
    with github:
        asked = github.post(WORKFLOW).mock(side_effect=failure("no"))
        async with GithubApi(URL, StaticToken("token")) as api:
            outcome = await api.dispatch(BY_WORKFLOW)
    assert isinstance(outcome, NotSent if failure is httpx2.ConnectError else Unanswered)
    assert asked.call_count == 1


class Renewing:
    """A credential whose first token has ended."""

    def __init__(self, *, renews: bool = True) -> None:
        self.renews = renews
        self.token = "old"
        self.asked: list[str] = []

    async def header(self, repository: str) -> str:
        self.asked.append(repository)
        return f"Bearer {self.token}"

    async def refused(self, repository: str) -> bool:
        self.token = "new"
        return self.renews


async def test_a_refused_token_is_renewed_and_the_request_sent_once_more(github: respx.MockRouter) -> None:
    with github:
        asked = github.post(DISPATCHES)
        asked.side_effect = [httpx.Response(401), httpx.Response(204)]
        credential = Renewing()
        async with GithubApi(URL, credential) as api:
            assert await api.dispatch(DISPATCH) == Answer(204)
    assert [call.request.headers["authorization"] for call in asked.calls] == ["Bearer old", "Bearer new"]
    assert credential.asked == ["owner/models"] * 2


@pytest.mark.parametrize(("renews", "requests"), [(True, 2), (False, 1)])
async def test_a_token_that_stays_refused_is_retried_at_most_once(
    github: respx.MockRouter, renews: bool, requests: int
) -> None:
    with github:
        asked = github.post(DISPATCHES).respond(401, json={"message": "Bad credentials"})
        async with GithubApi(URL, Renewing(renews=renews)) as api:
            assert await api.dispatch(DISPATCH) == Answer(401, {}, "Bad credentials")
    assert asked.call_count == requests


class Unsigned:
    """A credential that gets no token."""

    def __init__(self, outcome: Answer | NotSent) -> None:
        self.outcome = outcome

    async def header(self, repository: str) -> str:
        raise SignInFailed(self.outcome, f"no token for {repository}")

    async def refused(self, repository: str) -> bool:
        raise AssertionError


@pytest.mark.parametrize(
    "outcome", [NotSent("ConnectTimeout"), Answer(401, {}, "wrong key"), Answer(403, {"retry-after": "9"}, "slow down")]
)
async def test_a_request_that_could_not_be_signed_was_not_sent(
    github: respx.MockRouter, outcome: Answer | NotSent
) -> None:
    with github:
        asked = github.post(DISPATCHES).respond(204)
        async with GithubApi(URL, Unsigned(outcome)) as api:
            assert await api.dispatch(DISPATCH) == outcome
    assert not asked.called


def test_a_token_is_not_shown() -> None:
    assert "sentinel" not in repr(StaticToken("sentinel"))


async def test_the_quota_and_the_expiry_of_the_token_come_from_the_last_answer(github: respx.MockRouter) -> None:
    quota = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-reset": "1700000000"}
    with github:
        asked = github.get(RUNS)
        expiry = {"github-authentication-token-expiration": "2026-01-31 12:00:00 UTC"}
        asked.side_effect = [
            httpx.Response(200, json={"workflow_runs": []}, headers=quota | expiry),
            httpx.Response(502),
        ]
        async with GithubApi(URL, StaticToken("token")) as api:
            assert (api.quota, api.token_expires_at) == (None, None)
            await pages(api)
            assert (api.quota, api.token_expires_at) == (Quota(5000, 4999, 1_700_000_000.0), 1_769_860_800.0)
            with pytest.raises(RunLookupFailed):
                await pages(api)
            assert (api.quota, api.token_expires_at) == (Quota(5000, 4999, 1_700_000_000.0), 1_769_860_800.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-01-31 13:00:00 +0100", 1_769_860_800.0), ("soon", None), ("", None), ("9" * 400, None)],
)
async def test_the_expiry_of_the_token_is_read_in_both_forms(
    github: respx.MockRouter, text: str, expected: float | None
) -> None:
    with github:
        headers = {"github-authentication-token-expiration": text}
        github.get(RUNS).respond(json={"workflow_runs": []}, headers=headers)
        async with GithubApi(URL, StaticToken("token")) as api:
            await pages(api)
            assert api.token_expires_at == expected


NASTY = "a\0b\ud800\x1b[2J"


async def test_only_the_run_that_cannot_be_read_is_omitted_from_its_page(github: respx.MockRouter) -> None:
    many = "9" * 6_000
    bad = [
        json.dumps(run(1, "x") | {"id": "x"}),
        json.dumps(run(1, "x") | {"id": 2**63}),
        json.dumps(run(1, "x") | {"id": -1}),
        json.dumps(run(1, "x")).replace('"id": 1', f'"id": {many}'),
        "null",
        "[]",
    ]
    good = json.dumps(run(7, ID))
    with github:
        github.get(RUNS).respond(content=f'{{"workflow_runs": [{", ".join([*bad, good])}]}}'.encode())
        async with GithubApi(URL, StaticToken("token")) as api:
            (page,) = await pages(api)
    assert [entry.id for entry in page.runs] == [7]


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00", "soon", 1e308, [], 7]
)
async def test_a_run_with_an_impossible_time_is_read(github: respx.MockRouter, moment: object) -> None:
    with github:
        github.get(f"{RUNS}/7").respond(json=run(7, ID) | {"run_started_at": moment})
        async with GithubApi(URL, StaticToken("token")) as api:
            result = await api.read_run("owner/models", 7)
    assert result is not None
    if result.run_started_at is not None:
        assert 0 <= result.run_started_at.timestamp() < 253_402_300_800


async def test_all_texts_of_github_are_cleaned(github: respx.MockRouter) -> None:
    texts = {"html_url": NASTY, "display_title": NASTY, "status": NASTY, "conclusion": NASTY}
    with github:
        github.get(f"{RUNS}/7").respond(content=json.dumps({"id": 7, **texts}).encode())
        odd = [(b"retry-after", b"\xc2\x9b\xc2\x85")]
        github.post(DISPATCHES).respond(403, content=json.dumps({"message": NASTY}).encode(), headers=odd)
        github.post(WORKFLOW).respond(200, content=json.dumps({"workflow_run_id": 1, "html_url": NASTY}).encode())
        async with GithubApi(URL, StaticToken("token")) as api:
            result = await api.read_run("owner/models", 7)
            refused = await api.dispatch(DISPATCH)
            started = await api.dispatch(BY_WORKFLOW)
    assert result is not None
    assert isinstance(refused, Answer)
    assert isinstance(started, Answer)
    shown = [result.html_url, result.display_title, result.status, result.conclusion, refused.message, started.run_url]
    assert all(text and text.isprintable() for text in [*shown, *refused.headers.values()])


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"message": ' * 100_000, b'{"message": {}}', b"1" * 6_000])
async def test_no_error_page_raises(github: respx.MockRouter, content: bytes) -> None:
    with github:
        github.post(DISPATCHES).respond(502, content=content)
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await api.dispatch(DISPATCH) == Answer(502)


@pytest.mark.parametrize("value", ["9" * 400, "9" * 6_000, "-1", "nan", "٣", ""])
@pytest.mark.parametrize("name", ["limit", "remaining", "reset"])
async def test_an_invalid_quota_is_ignored(github: respx.MockRouter, name: str, value: str) -> None:
    quota = {f"x-ratelimit-{key}": "1" for key in ("limit", "remaining", "reset")} | {f"x-ratelimit-{name}": value}
    with github:
        encoded = [(key.encode(), text.encode()) for key, text in quota.items()]
        github.get(RUNS).mock(side_effect=[httpx.Response(200, json={"workflow_runs": []}, headers=encoded)])
        async with GithubApi(URL, StaticToken("token")) as api:
            assert await pages(api) == [Page((), is_last=True)]
            assert api.quota is None
