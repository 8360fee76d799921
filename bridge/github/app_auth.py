"""Sign-in to GitHub as an App: a token for one repository, valid for one hour and renewed before it expires.

Sources: GitHub's "Generating a JSON Web Token (JWT) for a GitHub App" and "Generating an installation access token for
a GitHub App"; the same on GitHub Enterprise Server.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Final, TypeVar

import httpx2
import jwt
import structlog
from pydantic import AwareDatetime, BaseModel, StringConstraints, ValidationError

from bridge.core import http_answers
from bridge.core.http_answers import AnswerUnreadable
from bridge.github.client import API_VERSION, HEADERS, TIMEOUT, SignInFailed
from bridge.github.responses import Answer, NotSent, summary

_BACKDATED: Final = 60
"""Seconds that the JWT is dated back, as GitHub recommends: its clock may be behind ours."""

_JWT_LIFETIME: Final = 540
"""Seconds from now; GitHub accepts at most 600."""

_RENEWAL: Final = 300.0
"""Seconds before a token expires from which on it is replaced."""

_NEW: Final = 60.0
"""Seconds for which a token counts as new: a 401 in that time is about the token before it."""

_log = structlog.get_logger(__name__)


class _Installation(BaseModel):
    id: int


class _AccessToken(BaseModel):
    token: Annotated[str, StringConstraints(pattern=r"^[!-~]+$")]
    expires_at: AwareDatetime


_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True, repr=False)
class _Token:
    """An installation's token for one repository; times are Unix seconds by our clock."""

    text: str
    created_at: float
    expires_at: float


class AppInstallation:
    """The credential of a GitHub App: one token per repository, from the repository's own installation.

    Several tasks may use it at once: a repository's token is requested once, and all of them wait for it.
    """

    def __init__(
        self,
        app_id: str,
        private_key: str,
        url: str,
        *,
        api_version: str = API_VERSION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app_id = app_id
        self._private_key = private_key
        self._url = f"{url.rstrip('/')}/"
        self._headers = {**HEADERS, "X-GitHub-Api-Version": api_version}
        self._clock = clock
        self._tokens: dict[str, _Token] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def header(self, repository: str) -> str:
        """Return the Authorization header for the repository, with a new token if needed; raises `SignInFailed`."""
        async with self._locks[repository]:
            token = self._tokens.get(repository)
            if token is None or self._clock() > token.expires_at - _RENEWAL:
                token = self._tokens[repository] = await self._create(repository)
            return f"Bearer {token.text}"

    async def refused(self, repository: str) -> bool:
        """Discard the token, unless another task has just renewed it; the next `header` is worth one retry."""
        token = self._tokens.get(repository)
        if token and not 0 <= self._clock() - token.created_at < _NEW:
            self._tokens.pop(repository)
        return True

    async def _create(self, repository: str) -> _Token:
        async with httpx2.AsyncClient(base_url=self._url, headers=self._headers, timeout=TIMEOUT) as client:
            path = f"repos/{repository}/installation"
            installation = await self._ask(client, "GET", path, repository, _Installation)
            path = f"app/installations/{installation.id}/access_tokens"
            body = {"repositories": [repository.partition("/")[2]]}
            created = await self._ask(client, "POST", path, repository, _AccessToken, body)
        _log.info("signed in as the App", repository=repository, until=created.expires_at.isoformat())
        return _Token(created.token, self._clock(), created.expires_at.timestamp())

    async def _ask(
        self,
        client: httpx2.AsyncClient,
        method: str,
        path: str,
        repository: str,
        body_type: type[_Body],
        body: object = None,
    ) -> _Body:
        headers = {"Authorization": f"Bearer {self._jwt()}"}
        try:
            request = client.build_request(method, path, json=body, headers=headers)
            answer = Answer.read(await http_answers.ask(client, request))
        # A token that was created but lost does no harm: the request that needs it was not sent.
        except AnswerUnreadable as error:
            raise _failed(NotSent(str(error))) from error
        except httpx2.HTTPError as error:
            raise _failed(NotSent(type(error).__name__)) from error
        if not answer.is_success:
            raise _failed(_refusal(answer, repository))
        try:
            return body_type.model_validate(answer.json)
        except ValidationError as error:
            raise _failed(Answer(502, message="the response contains no token")) from error

    def _jwt(self) -> str:
        now = int(self._clock())
        claims = {"iat": now - _BACKDATED, "exp": now + _JWT_LIFETIME, "iss": self._app_id}
        return jwt.encode(claims, self._private_key, algorithm="RS256")


def _refusal(answer: Answer, repository: str) -> Answer:
    """Return GitHub's answer with its meaning for the App; a 422 becomes the 404 that it means."""
    messages = {
        401: f"the App's id and private key don't match, or this machine's clock is wrong: {answer.message}",
        404: f"the App is not installed on {repository}",
        422: f"the App's installation has no access to {repository}",
    }
    status = 404 if answer.status == 422 else answer.status
    return replace(answer, status=status, message=messages.get(answer.status, answer.message))


def _failed(outcome: Answer | NotSent) -> SignInFailed:
    return SignInFailed(
        outcome,
        f"signing in as the App failed ({summary(outcome)})",
        "check GITHUB_APP_ID and its private key, and that GitHub can be reached",
    )
