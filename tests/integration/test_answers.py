"""Answers of GitHub and MLflow that are too large, compressed, or never complete."""

import asyncio
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from httpcore2._backends.sync import SyncStream

from bridge.core import http_answers
from bridge.core.http_answers import AnswerTooLarge, AnswerTooSlow, AnswerUnreadable
from bridge.core.limits import MAX_ANSWER
from bridge.core.requests import build
from bridge.core.routing import DispatchMethod
from bridge.github.app_auth import AppInstallation
from bridge.github.client import GithubApi, RunLookupFailed, StaticToken
from bridge.github.responses import Answer, NotSent, Unanswered
from bridge.mlflow.client import MlflowAnswerTooLarge, MlflowApi, MlflowError, MlflowUnreachable
from bridge.mlflow.threads import run_in_daemon_thread
from tests.integration import hostile_server
from tests.integration.conftest import TOKEN
from tests.integration.deliveries import VALID, post, rows
from tests.integration.fast_bridge import QuickBridge
from tests.integration.hostile_server import TOO_LARGE, TOO_SLOW, UNREADABLE, plain, serving
from tests.integration.test_hostile import LIMIT, memory
from tests.waiting import until

pytestmark = pytest.mark.anyio

DISPATCH = build(DispatchMethod.REPOSITORY, "{}", repository="o/r", event_type="type")
SECONDS = 0.2
PATIENCE = 30.0
"""Seconds after which a call counts as one that never ends."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(http_answers.ask, "__kwdefaults__", {"seconds": SECONDS, "max_bytes": MAX_ANSWER})
    monkeypatch.setattr(http_answers.ask_blocking, "__kwdefaults__", {"seconds": SECONDS, "max_bytes": MAX_ANSWER})
    monkeypatch.setattr("bridge.mlflow.client._CALL_SECONDS", SECONDS)


@pytest.fixture
def measured() -> Iterator[None]:
    """Fails a test that takes much memory."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MAX_ANSWER


async def ask_both(url: str) -> list[BaseException]:
    """Ask with both clients; return what they raise."""
    raised: list[BaseException] = []
    async with httpx2.AsyncClient(trust_env=False) as client:
        try:
            await http_answers.ask(client, client.build_request("GET", url))
        except AnswerUnreadable as error:
            raised.append(error)
    with httpx2.Client(trust_env=False) as blocking:
        try:
            await run_in_daemon_thread(http_answers.ask_blocking, blocking, blocking.build_request("GET", url))
        except AnswerUnreadable as error:
            raised.append(error)
    return raised


@pytest.mark.parametrize("answer", TOO_LARGE, ids=lambda answer: answer.__name__)
@pytest.mark.usefixtures("measured")
async def test_no_more_is_read_than_the_limit(answer: hostile_server.Answer) -> None:
    with serving({"": answer}) as server:
        assert [type(error) for error in await ask_both(server.url)] == [AnswerTooLarge] * 2


@pytest.mark.parametrize("answer", TOO_SLOW, ids=lambda answer: answer.__name__)
@pytest.mark.usefixtures("hasty")
async def test_no_call_waits_longer_than_the_deadline(answer: hostile_server.Answer) -> None:
    with serving({"": answer}) as server:
        raised = await asyncio.wait_for(ask_both(server.url), PATIENCE)
    assert [type(error) for error in raised] == [AnswerTooSlow] * 2


@pytest.mark.parametrize("answer", UNREADABLE, ids=lambda answer: answer.__name__)
@pytest.mark.usefixtures("measured")
async def test_an_answer_in_an_encoding_that_was_not_requested_is_not_decoded(answer: hostile_server.Answer) -> None:
    with serving({"": answer}) as server:
        assert [type(error) for error in await ask_both(server.url)] == [AnswerUnreadable] * 2


@pytest.mark.parametrize("cut", [0, 5, 15])
async def test_a_compressed_answer_is_decoded_and_a_truncated_one_is_an_error(cut: int) -> None:
    compressor = zlib.compressobj(wbits=31)
    compressed = compressor.compress(b'{"a": 1}') + compressor.flush()
    with serving({"": plain(compressed[: len(compressed) - cut], "200 OK", "Content-Encoding: gzip")}) as server:
        raised = await ask_both(server.url)
        assert [type(error) for error in raised] == ([AnswerUnreadable] * 2 if cut else [])
        if not cut:
            async with httpx2.AsyncClient(trust_env=False) as client:
                answer = await http_answers.ask(client, client.build_request("GET", server.url))
            assert (answer.content, answer.headers.get("content-encoding")) == (b'{"a": 1}', None)


@pytest.mark.parametrize("answer", [*TOO_LARGE, *TOO_SLOW, *UNREADABLE], ids=lambda answer: answer.__name__)
@pytest.mark.usefixtures("hasty", "measured")
async def test_every_call_to_github_ends_with_an_outcome_of_ours(answer: hostile_server.Answer) -> None:
    with serving({"": answer}) as server:
        async with GithubApi(server.url, StaticToken("t")) as api, asyncio.timeout(PATIENCE):
            assert isinstance(await api.dispatch(DISPATCH), Unanswered)
            with pytest.raises(RunLookupFailed):
                await api.find_run("o/r", "d1")
            with pytest.raises(RunLookupFailed):
                await api.read_run("o/r", 1)
            assert isinstance(await api.ask("GET", "o/r"), Unanswered)


@pytest.mark.parametrize("answer", [hostile_server.bomb, hostile_server.dripping_body])
@pytest.mark.usefixtures("hasty", "measured")
async def test_a_token_that_never_arrives_blocks_nothing(
    answer: hostile_server.Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AppInstallation, "_jwt", lambda _: "jwt")
    with serving({"": answer}) as server:
        async with GithubApi(server.url, AppInstallation("1", "key", server.url)) as api, asyncio.timeout(PATIENCE):
            assert isinstance(await api.dispatch(DISPATCH), NotSent)


@pytest.mark.parametrize("answer", [*TOO_LARGE, *TOO_SLOW, *UNREADABLE], ids=lambda answer: answer.__name__)
@pytest.mark.usefixtures("measured")
async def test_every_call_to_mlflow_ends_with_an_error_of_ours(
    answer: hostile_server.Answer, request: pytest.FixtureRequest
) -> None:
    if answer in TOO_SLOW:  # the others end by their size or encoding, even on a busy machine
        request.getfixturevalue("hasty")
    with serving({"": answer}) as server, MlflowApi(server.url) as api:
        expected = MlflowAnswerTooLarge if answer in TOO_LARGE else MlflowUnreachable
        for call in (lambda: api.version("iris", "1"), lambda: api.set_version_tag("iris", "1", "k", "v")):
            with pytest.raises(expected):
                await asyncio.wait_for(run_in_daemon_thread(call), PATIENCE)


def test_a_tls_connection_that_is_cut_stays_encrypted() -> None:
    ours, theirs = socket.socketpair()
    with (
        theirs,
        ssl.create_default_context().wrap_socket(
            ours, server_hostname="mlflow", do_handshake_on_connect=False
        ) as secure,
    ):
        connection = http_answers._Connection()
        connection.note("connection.start_tls.complete", {"return_value": SyncStream(secure)})
        connection.cut()
        assert secure._sslobj is not None  # type: ignore[attr-defined]  # else what is sent then is sent in plain text
        with pytest.raises(BrokenPipeError):
            secure.do_handshake()


async def test_neither_client_keeps_cookies() -> None:
    with serving({"": plain(b"{}", "200 OK", *(f"Set-Cookie: c{number}=1" for number in range(50)))}) as server:
        async with GithubApi(server.url, StaticToken("t")) as github:
            await github.ask("GET", "o/r")
            assert not github._client.cookies
        with MlflowApi(server.url) as mlflow:
            with pytest.raises(MlflowError):
                await run_in_daemon_thread(mlflow.version, "iris", "1")
            assert not mlflow._client.cookies


async def test_neither_client_follows_a_redirect_with_its_credentials() -> None:
    with serving({"": plain(b"{}")}) as elsewhere:
        moved = plain(b"", "302 Found", f"Location: {elsewhere.url}/x")
        with serving({"": moved}) as server:
            async with GithubApi(server.url, StaticToken("t")) as github:
                assert await github.dispatch(DISPATCH) == Answer(302)
            with MlflowApi(server.url, token="t") as mlflow, pytest.raises(MlflowError):
                await run_in_daemon_thread(mlflow.version, "iris", "1")
    assert elsewhere.requests == []


def test_a_bridge_whose_github_and_mlflow_send_bombs_stays_small_and_goes_on(folder: Path) -> None:
    taken = plain(b"", "204 No Content")
    with serving({"": hostile_server.bomb, "POST": taken}) as server:
        environment = {
            "MLFLOW_WEBHOOK_SECRET": "sentinel-secret-of-the-webhook",
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_REPOSITORY": "owner/models",
            "GITHUB_API_URL": server.url,
            "MLFLOW_TRACKING_URI": server.url,
            "GITHUB_DISPATCH_INTERVAL": "0",
            "GITHUB_POLL_INTERVAL": "0.1",
            "RECONCILE_INTERVAL": "0.5",
        }
        with QuickBridge(environment, folder) as bridge:
            assert post(bridge.url, VALID[0]).status_code == 202
            until(lambda: rows(folder, "select state from dispatches") == [("sent",)])
            until(lambda: len(bridge.degraded()) == 2)
            assert post(bridge.url, VALID[1]).status_code == 202
            until(lambda: rows(folder, "select state from dispatches") == [("sent",)] * 2)
            peak = memory(bridge)
    print(f"{peak} KiB")
    assert peak < LIMIT + 8 * MAX_ANSWER // 1024  # three loops, each with an answer and its copy
