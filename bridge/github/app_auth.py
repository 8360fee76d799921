"""Signing in to GitHub as an App: a token for one repository and one hour, made anew before it ends.

Sources: GitHub's "Generating a JSON Web Token (JWT) for a GitHub App" and "Generating an installation access token for
a GitHub App"; the same on GitHub Enterprise Server.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import httpx
import jwt
import structlog
from pydantic import AwareDatetime, BaseModel, StringConstraints

from bridge import __version__
from bridge.core import http_answers
from bridge.core.http_answers import AnswerUnreadable
from bridge.core.text import clean, read_json
from bridge.github.client import API_VERSION, SignInFailed, message
from bridge.github.responses import Answer, NotSent

_TIMEOUT: Final = httpx.Timeout(15.0, connect=10.0)
"""Seconds. GitHub itself cuts a request off after 10 s."""

_BEHIND: Final = 60
"""Seconds that the JWT is dated back, as GitHub advises: its clock may be behind ours."""

_LIFE: Final = 540
"""Seconds that the JWT lives from now; GitHub takes 600."""

_RENEWED: Final = 300.0
"""Seconds before its end from which on a token is no longer used."""

_YOUNG: Final = 60.0
"""Seconds in which a token counts as new: whoever is refused then was refused with the one before it."""

_LIMITS: Final = ("retry-after", "x-ratelimit-remaining", "x-ratelimit-reset")

_log = structlog.get_logger(__name__)


class _Installation(BaseModel):
    id: int


class _AccessToken(BaseModel):
    token: Annotated[str, StringConstraints(pattern=r"^[!-~]+$")]
    expires_at: AwareDatetime


_Shape = TypeVar("_Shape", bound=BaseModel)


@dataclass(frozen=True, repr=False)
class _Token:
    """An installation's token for one repository; times are Unix seconds by our clock."""

    text: str
    made_at: float
    ends_at: float


class AppInstallation:
    """The credential of a GitHub App: one token a repository, each by the installation that the repository has.

    It may be asked from several tasks at once: a repository's token is made once, and they all wait for it.
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
        self._headers = {
            "Accept": "application/vnd.github+json",
            "User-Agent": f"mlflow-actions-bridge/{__version__}",
            "X-GitHub-Api-Version": api_version,
        }
        self._clock = clock
        self._tokens: dict[str, _Token] = {}
        self._making: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def header(self, repository: str) -> str:
        """Give the Authorization header for the repository, with a new token where need be; raises `SignInFailed`."""
        async with self._making[repository]:
            token = self._tokens.get(repository)
            if token is None or self._clock() > token.ends_at - _RENEWED:
                token = self._tokens[repository] = await self._make(repository)
            return f"Bearer {token.text}"

    async def refused(self, repository: str) -> bool:
        """Give the token up, unless another task has just renewed it; the next `header` is worth one retry."""
        token = self._tokens.get(repository)
        if token and not 0 <= self._clock() - token.made_at < _YOUNG:
            self._tokens.pop(repository)
        return True

    async def _make(self, repository: str) -> _Token:
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=_TIMEOUT) as client:
            found = await self._ask(client, "GET", f"repos/{repository}/installation", repository)
            installation = _read(_Installation, found).id
            path = f"app/installations/{installation}/access_tokens"
            body = {"repositories": [repository.partition("/")[2]]}
            made = _read(_AccessToken, await self._ask(client, "POST", path, repository, body))
        _log.info("signed in as the App", repository=repository, until=made.expires_at.isoformat())
        return _Token(made.token, self._clock(), made.expires_at.timestamp())

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, repository: str, body: object = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._jwt()}"}
        try:
            answer = await http_answers.ask(client, client.build_request(method, path, json=body, headers=headers))
        except AnswerUnreadable as error:
            raise _failed(NotSent(str(error))) from error
        except httpx.HTTPError as error:
            # Whether a token was made that nobody got doesn't matter: the request for which it was to be wasn't sent.
            raise _failed(NotSent(type(error).__name__)) from error
        if not answer.is_success:
            raise _failed(_refusal(answer, repository))
        return answer

    def _jwt(self) -> str:
        now = int(self._clock())
        claims = {"iat": now - _BEHIND, "exp": now + _LIFE, "iss": self._app_id}
        return jwt.encode(claims, self._private_key, algorithm="RS256")


def _read(shape: type[_Shape], answer: httpx.Response) -> _Shape:
    try:
        return shape.model_validate(read_json(answer.content))
    except ValueError as error:
        raise _failed(Answer(502, message="an answer that holds no sign-in")) from error


def _refusal(answer: httpx.Response, repository: str) -> Answer:
    """Give GitHub's answer with what it means for the App, and those of its headers that report rate limits."""
    said = message(answer.content)
    meaning = {
        401: f"the App's id and private key don't fit, or this machine's clock is wrong: {said}",
        404: f"the App is not installed on {repository}",
        422: f"the App's installation does not reach {repository}",
    }
    status = 404 if answer.status_code == 422 else answer.status_code
    limits = {name: clean(answer.headers[name]) for name in _LIMITS if name in answer.headers}
    return Answer(status, limits, meaning.get(answer.status_code, said))


def _failed(outcome: Answer | NotSent) -> SignInFailed:
    said = outcome.message if isinstance(outcome, Answer) else outcome.cause
    return SignInFailed(outcome, f"no token can be had for the App ({said}): check GITHUB_APP_ID, its key, and GitHub")
