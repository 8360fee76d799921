"""The App's sign-in against the loopback GitHub, which checks the JWT and knows its own tokens."""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bridge.core.requests import DispatchRequest, build
from bridge.core.routing import DispatchMethod
from bridge.github.app_auth import AppInstallation
from bridge.github.client import GithubApi
from bridge.github.responses import Answer
from tests.integration.conftest import REPOSITORY, TOKEN
from tests.loopback.github.apps import App
from tests.loopback.github.server import LoopbackGitHub

pytestmark = pytest.mark.anyio

PAYLOAD = '{"dispatch_id": "01J", "model": {"name": "iris", "version": "1", "alias": null}}'


def pair() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


PRIVATE, PUBLIC = pair()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def app() -> App:
    return App("Iv23abc", PUBLIC, installation=42)


@pytest.fixture
def github(app: App, tmp_path: Path) -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub(
        repository=REPOSITORY, tree=Path(__file__).parents[2], token=TOKEN, folder=tmp_path, installed=app
    ) as github:
        yield github


@pytest.fixture
async def api(github: LoopbackGitHub) -> AsyncIterator[GithubApi]:
    async with GithubApi(github.url, AppInstallation("Iv23abc", PRIVATE, github.url)) as api:
        yield api


def request(repository: str) -> DispatchRequest:
    return build(DispatchMethod.REPOSITORY, PAYLOAD, repository=repository, event_type="mlflow-model-version")


async def status(api: GithubApi) -> int | None:
    outcome = await api.dispatch(request(REPOSITORY))
    return outcome.status if isinstance(outcome, Answer) else None


async def test_an_app_dispatches_and_looks_with_one_token(api: GithubApi, app: App, github: LoopbackGitHub) -> None:
    for _ in range(3):
        assert await status(api) == 204
    assert await api.find_run(REPOSITORY, "01J") is not None
    assert len(github.runs) == 3
    assert len(app.issued) == 1


async def test_a_token_that_github_no_longer_takes_is_made_anew_within_the_same_request(
    github: LoopbackGitHub, app: App
) -> None:
    now = time.time() - 30
    credential = AppInstallation("Iv23abc", PRIVATE, github.url, clock=lambda: now)
    async with GithubApi(github.url, credential) as api:
        await api.dispatch(request(REPOSITORY))
        app.revoke()
        now += 61
        assert await status(api) == 204
    assert len(app.issued) == 2
    assert len(github.dispatches) == 2


async def test_a_token_is_made_anew_before_its_end(tmp_path: Path) -> None:
    app = App("Iv23abc", PUBLIC, life=timedelta(minutes=4))
    with LoopbackGitHub(
        repository=REPOSITORY, tree=Path(__file__).parents[2], token=TOKEN, folder=tmp_path, installed=app
    ) as github:
        async with GithubApi(github.url, AppInstallation("Iv23abc", PRIVATE, github.url)) as api:
            for _ in range(2):
                assert await status(api) == 204
    assert len(app.issued) == 2


@pytest.mark.parametrize(
    ("app_id", "key", "ahead"), [("Iv23other", PRIVATE, 0), ("Iv23abc", pair()[0], 0), ("Iv23abc", PRIVATE, 3600)]
)
async def test_a_wrong_id_key_or_clock_is_refused_with_what_to_check(
    github: LoopbackGitHub, app_id: str, key: str, ahead: float
) -> None:
    credential = AppInstallation(app_id, key, github.url, clock=lambda: time.time() + ahead)
    async with GithubApi(github.url, credential) as api:
        outcome = await api.dispatch(request(REPOSITORY))
    assert isinstance(outcome, Answer)
    assert outcome.status == 401
    assert "the App's id and private key don't match, or this machine's clock is wrong" in outcome.message
    assert not github.dispatches


async def test_a_repository_without_the_app_is_told_so(api: GithubApi) -> None:
    outcome = await api.dispatch(request("owner/elsewhere"))
    assert isinstance(outcome, Answer)
    assert (outcome.status, outcome.message) == (404, "the App is not installed on owner/elsewhere")


def token(**claims: object) -> str:
    now = int(time.time())
    return jwt.encode({"iat": now - 60, "exp": now + 540, "iss": "Iv23abc", **claims}, PRIVATE, algorithm="RS256")


@pytest.mark.parametrize(
    ("scheme", "claims", "answered"),
    [
        ("Bearer", {}, 200),
        ("token", {}, 401),
        ("Bearer", {"exp": 900}, 401),
        ("Bearer", {"exp": -1}, 401),
        ("Bearer", {"iat": 300}, 401),
        ("Bearer", {"iss": "other"}, 401),
    ],
)
def test_the_loopback_github_is_as_strict_as_github_with_the_jwt(
    github: LoopbackGitHub, scheme: str, claims: dict[str, Any], answered: int
) -> None:
    now = int(time.time())
    sent = {name: value if name == "iss" else now + value for name, value in claims.items()}
    assert installation(github, f"{scheme} {token(**sent)}") == answered


@pytest.mark.parametrize(
    "sent", [TOKEN, jwt.encode({"iat": 1, "exp": 2, "iss": "Iv23abc"}, "x" * 32, algorithm="HS256")]
)
def test_what_is_no_jwt_of_the_apps_key_is_refused(github: LoopbackGitHub, sent: str) -> None:
    assert installation(github, f"Bearer {sent}") == 401


def installation(github: LoopbackGitHub, authorization: str) -> int:
    url = f"{github.url}/repos/{REPOSITORY}/installation"
    return httpx2.get(url, headers={"Authorization": authorization}, trust_env=False).status_code


def test_the_jwt_itself_opens_nothing_else(github: LoopbackGitHub) -> None:
    url, headers = f"{github.url}/repos/{REPOSITORY}/actions/runs", {"Authorization": f"Bearer {token()}"}
    assert httpx2.get(url, headers=headers, trust_env=False).status_code == 401
