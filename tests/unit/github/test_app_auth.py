import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import httpx2
import jwt
import pytest
import respx
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bridge.github.app_auth import AppInstallation
from bridge.github.client import SignInFailed
from bridge.github.responses import Answer, NotSent

pytestmark = pytest.mark.anyio

URL = "https://ghes.example/api/v3"
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def public_key(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(key: rsa.RSAPrivateKey, clock: Clock) -> AppInstallation:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    return AppInstallation("Iv23abc", pem, URL, api_version="2022-11-28", clock=clock)


class GitHub:
    """Counts the tokens that it makes: `ghs_<installation>_<count>`, which live for an hour."""

    def __init__(self, mock: respx.MockRouter, clock: Clock) -> None:
        self.made = 0
        self._clock = clock
        self.installations = {"owner/models": 7, "other/models": 8}
        self.asked = mock.post(url__regex=rf"{URL}/app/installations/\d+/access_tokens").mock(side_effect=self._make)
        self.lookup = mock.get(url__regex=rf"{URL}/repos/.*/installation").mock(side_effect=self._find)

    def _find(self, request: httpx.Request) -> httpx.Response:
        repository = request.url.path.removeprefix("/api/v3/repos/").removesuffix("/installation")
        if repository not in self.installations:
            return httpx.Response(404, json={"message": "Not Found"})
        return httpx.Response(200, json={"id": self.installations[repository]})

    async def _make(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        self.made += 1
        ends = datetime.fromtimestamp(self._clock.now + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        number = request.url.path.split("/")[-2]
        return httpx.Response(201, json={"token": f"ghs_{number}_{self.made}", "expires_at": ends})


@pytest.fixture
def github(clock: Clock) -> Iterator[GitHub]:
    with respx.mock(using="httpcore2", assert_all_called=False) as server:
        yield GitHub(server, clock)


async def test_the_jwt_is_what_github_asks_for(app: AppInstallation, github: GitHub, public_key: str) -> None:
    assert await app.header("owner/models") == "Bearer ghs_7_1"
    for call in (github.lookup.calls.last, github.asked.calls.last):
        scheme, token = call.request.headers["authorization"].split()
        claims = jwt.decode(token, public_key, algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False})
        assert (scheme, claims["iss"]) == ("Bearer", "Iv23abc")
        assert claims["iat"] == NOW - 60
        assert NOW < claims["exp"] <= NOW + 600
        assert call.request.headers["x-github-api-version"] == "2022-11-28"
        assert call.request.headers["user-agent"].startswith("mlflow-actions-bridge/")


async def test_the_token_is_limited_to_its_repository(app: AppInstallation, github: GitHub) -> None:
    await app.header("owner/models")
    assert json.loads(github.asked.calls.last.request.content) == {"repositories": ["models"]}


async def test_each_repository_has_the_token_of_its_own_installation(app: AppInstallation, github: GitHub) -> None:
    assert await app.header("owner/models") == "Bearer ghs_7_1"
    assert await app.header("other/models") == "Bearer ghs_8_2"
    assert await app.header("owner/models") == "Bearer ghs_7_1"


async def test_a_token_is_reused_and_renewed_before_it_expires(
    app: AppInstallation, github: GitHub, clock: Clock
) -> None:
    await app.header("owner/models")
    clock.now += 3600 - 301
    assert await app.header("owner/models") == "Bearer ghs_7_1"
    clock.now += 2
    assert await app.header("owner/models") == "Bearer ghs_7_2"
    assert github.made == 2


async def test_concurrent_tasks_share_one_token(app: AppInstallation, github: GitHub) -> None:
    assert set(await asyncio.gather(*(app.header("owner/models") for _ in range(20)))) == {"Bearer ghs_7_1"}
    assert github.made == 1


async def test_a_refused_token_is_renewed(app: AppInstallation, github: GitHub, clock: Clock) -> None:
    await app.header("owner/models")
    clock.now += 61
    assert await app.refused("owner/models")
    assert await app.header("owner/models") == "Bearer ghs_7_2"


async def test_concurrent_refusals_lead_to_one_new_token(app: AppInstallation, github: GitHub, clock: Clock) -> None:
    async def refused() -> str:
        await app.refused("owner/models")
        return await app.header("owner/models")

    await app.header("owner/models")
    clock.now += 61
    first = await refused()
    assert await refused() == first == "Bearer ghs_7_2"
    assert set(await asyncio.gather(*(refused() for _ in range(20)))) == {first}


async def test_a_token_is_discarded_if_the_clock_was_set_back(
    app: AppInstallation, github: GitHub, clock: Clock
) -> None:
    await app.header("owner/models")
    clock.now -= 3600
    await app.refused("owner/models")
    assert await app.header("owner/models") == "Bearer ghs_7_2"


async def test_a_repository_without_the_app_is_named(app: AppInstallation, github: GitHub) -> None:
    with pytest.raises(SignInFailed, match="the App is not installed on nobody/models") as failed:
        await app.header("nobody/models")
    assert failed.value.outcome == Answer(404, {}, "the App is not installed on nobody/models")


async def test_an_installation_without_the_repository_counts_as_none(app: AppInstallation, github: GitHub) -> None:
    github.asked.side_effect = None
    github.asked.respond(422, json={"message": "There is at least one repository that does not exist"})
    with pytest.raises(SignInFailed) as failed:
        await app.header("owner/models")
    assert failed.value.outcome == Answer(404, {}, "the App's installation has no access to owner/models")


async def test_a_wrong_key_or_clock_is_a_401_with_githubs_message(app: AppInstallation, github: GitHub) -> None:
    github.lookup.side_effect = None
    github.lookup.respond(401, json={"message": "'Expiration time' claim ('exp') is too far in the future"})
    with pytest.raises(SignInFailed) as failed:
        await app.header("owner/models")
    outcome = failed.value.outcome
    assert isinstance(outcome, Answer)
    assert outcome.status == 401
    assert "clock is wrong: 'Expiration time' claim" in outcome.message


async def test_a_rate_limit_keeps_its_headers(app: AppInstallation, github: GitHub) -> None:
    github.asked.side_effect = None
    limits = {"retry-after": "7", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000100"}
    github.asked.respond(403, json={"message": "slow down"}, headers={**limits, "x-else": "x"})
    with pytest.raises(SignInFailed) as failed:
        await app.header("owner/models")
    assert failed.value.outcome == Answer(403, limits, "slow down")


@pytest.mark.parametrize("body", ["", "[]", "<html>", '{"token": 7}', '{"token": "ghs_x", "expires_at": "soon"}'])
async def test_an_answer_without_a_token_is_a_502(app: AppInstallation, github: GitHub, body: str) -> None:
    github.asked.side_effect = None
    github.asked.respond(201, text=body)
    with pytest.raises(SignInFailed) as failed:
        await app.header("owner/models")
    assert failed.value.outcome == Answer(502, message="the response contains no token")


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.RemoteProtocolError])
async def test_without_an_answer_nothing_was_sent_and_the_next_request_signs_in_again(
    app: AppInstallation, github: GitHub, error: type[httpx2.HTTPError]
) -> None:
    make = github.asked.side_effect
    github.asked.side_effect = error("no")
    with pytest.raises(SignInFailed) as failed:
        await app.header("owner/models")
    assert failed.value.outcome == NotSent(error.__name__)
    github.asked.side_effect = make
    assert await app.header("owner/models") == "Bearer ghs_7_1"


async def test_an_expiring_token_that_cannot_be_renewed_is_not_used(
    app: AppInstallation, github: GitHub, clock: Clock
) -> None:
    await app.header("owner/models")
    clock.now += 3500
    github.asked.side_effect = httpx2.ConnectError("no")
    with pytest.raises(SignInFailed):
        await app.header("owner/models")


async def test_neither_key_nor_token_nor_jwt_is_shown(
    app: AppInstallation, github: GitHub, key: rsa.RSAPrivateKey, capsys: pytest.CaptureFixture[str]
) -> None:
    await app.header("owner/models")
    github.asked.side_effect = None
    github.asked.respond(401, json={"message": "Bad credentials"})
    with pytest.raises(SignInFailed) as failed:
        await app.header("other/models")
    jwt_sent = github.asked.calls.last.request.headers["authorization"].split()[1]
    shown = repr(app) + repr(vars(app)["_tokens"]) + str(failed.value) + repr(failed.value) + str(capsys.readouterr())
    assert "signed in as the App" in shown
    assert "ghs_" not in shown
    assert jwt_sent not in shown
    assert "PRIVATE KEY" not in shown


@pytest.mark.parametrize("token", ["a\nb", "a\r\nX: y", "模", "a b", "\0"])
async def test_a_token_that_no_header_can_hold_is_refused(app: AppInstallation, github: GitHub, token: str) -> None:
    github.asked.side_effect = None
    github.asked.respond(201, json={"token": token, "expires_at": "2030-01-01T00:00:00Z"})
    with pytest.raises(SignInFailed):
        await app.header("owner/models")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"message": ' + b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 403])
async def test_json_that_python_cannot_parse_is_refused(
    app: AppInstallation, github: GitHub, content: bytes, status: int
) -> None:
    github.lookup.side_effect = None
    github.lookup.respond(status, content=content)
    with pytest.raises(SignInFailed):
        await app.header("owner/models")
