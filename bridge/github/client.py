"""GitHub's REST API over httpx2: dispatch, and find and read the runs that dispatches cause.

Sources: GitHub's REST API, "Create a repository dispatch event", "Create a workflow dispatch event", "List workflow
runs for a repository", "Get a workflow run". GitHub Enterprise Server is the same except where noted.
"""

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Protocol, Self

import httpx2
from pydantic import BaseModel, Field, ValidationError

from bridge import __version__
from bridge.core import http_answers
from bridge.core.dispatches import Run as Run
from bridge.core.dispatches import RunId
from bridge.core.errors import BridgeError
from bridge.core.http_answers import AnswerUnreadable
from bridge.core.limits import MAX_CACHED_RUN_PAGES, MAX_RUN_PAGES, RUNS_PER_PAGE
from bridge.core.requests import METHOD, DispatchRequest
from bridge.core.routing import DispatchMethod
from bridge.core.text import Text
from bridge.github.responses import Answer, NotSent, Outcome, Unanswered, is_rate_limit, number, summary

API_VERSION: Final = "2022-11-28"
"""The newest that GitHub Enterprise Server supports."""

_NAMES_RUNS_SINCE: Final = "2026-03-10"
"""From this API version on, the answer to a workflow_dispatch names its run without being asked to."""

HEADERS: Final = {"Accept": "application/vnd.github+json", "User-Agent": f"mlflow-actions-bridge/{__version__}"}
TIMEOUT: Final = httpx2.Timeout(15.0, connect=10.0)
"""Seconds without a byte. GitHub itself ends a request after 10 s; `http_answers` limits the whole call."""

_NOT_SENT_ERRORS: Final = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)

_CLOCK_SKEW: Final = 7200.0
"""Seconds that GitHub's clock may be behind ours: one hour for a wrong time zone, and one more."""

_STEP: Final = 3600.0
"""Seconds. A list begins at a full hour, so that the same request is repeated and can be answered by a 304."""


class Credential(Protocol):
    """Signs requests to GitHub."""

    async def header(self, repository: str) -> str:
        """Return the Authorization header for requests about the repository; raises `SignInFailed`."""

    async def refused(self, repository: str) -> bool:
        """Record a 401; return whether the next `header` is worth one retry."""


@dataclass(frozen=True, repr=False)
class StaticToken:
    """A token that only a person can renew."""

    token: str

    async def header(self, repository: str) -> str:  # noqa: ARG002  the same for all repositories
        """Return the token as a header."""
        return f"Bearer {self.token}"

    async def refused(self, repository: str) -> bool:  # noqa: ARG002
        """Return False: there is no other token."""
        return False


@dataclass(frozen=True)
class Quota:
    """How many requests are left until `reset` (Unix seconds), by the last answer."""

    limit: int
    remaining: int
    reset: float


class SignInFailed(BridgeError):
    """There is no token to sign a request with; `outcome` is that of the request for one."""

    def __init__(self, outcome: Answer | NotSent, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.outcome = outcome


class RunLookupFailed(BridgeError):
    """The runs could not be read, so whether there is one is unknown; `outcome` is that of the request."""

    def __init__(self, outcome: Outcome, message: str = "", hint: str = "") -> None:
        if not message:
            message, hint = f"GitHub did not list the runs ({summary(outcome)})", "will retry automatically"
        super().__init__(message, hint)
        self.outcome = outcome


class ActionsUnreadable(RunLookupFailed):
    """The token may not read the repository's Actions."""


@dataclass(frozen=True)
class Page:
    """Up to 100 runs of a repository; `is_last` if there are no older ones since the requested time."""

    runs: tuple[Run, ...]
    is_last: bool


class _Runs(BaseModel):
    workflow_runs: Annotated[tuple[Any, ...], Field(max_length=RUNS_PER_PAGE)]


class _Started(BaseModel):
    workflow_run_id: RunId
    html_url: Text | None = None


class GithubApi:
    """A client of one GitHub with one credential; use it as an asynchronous context manager.

    `quota` and `token_expires_at` (Unix seconds) come from the last answer, None if no answer had them.
    """

    def __init__(self, url: str, credential: Credential, *, api_version: str = API_VERSION) -> None:
        self.quota: Quota | None = None
        self.token_expires_at: float | None = None
        self._credential = credential
        self._asks_for_run = api_version < _NAMES_RUNS_SINCE
        self._pages: OrderedDict[str, tuple[str, Page]] = OrderedDict()
        self._client = httpx2.AsyncClient(
            base_url=f"{url.rstrip('/')}/",
            headers={**HEADERS, "X-GitHub-Api-Version": api_version},
            cookies=http_answers.no_cookies(),
            timeout=TIMEOUT,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def dispatch(self, request: DispatchRequest) -> Outcome:
        """Send the request for a run; never raises for what GitHub does.

        The answer to a workflow_dispatch has the run if GitHub names it. GitHub Enterprise Server refuses to be asked
        for the run (400), and is then asked without.
        """
        if request.dispatch is DispatchMethod.REPOSITORY:
            return await self.ask(METHOD, request.repository, request.path, body=request.body)
        if self._asks_for_run:
            body = {**request.body, "return_run_details": True}
            outcome = await self.ask(METHOD, request.repository, request.path, body=body)
            if not (isinstance(outcome, Answer) and outcome.status == 400):
                return _with_run(outcome)
        outcome = await self.ask(METHOD, request.repository, request.path, body=request.body)
        if isinstance(outcome, Answer) and outcome.is_success:
            self._asks_for_run = False
        return _with_run(outcome)

    async def find_run(self, repository: str, dispatch_id: str, *, since: float | None = None) -> Run | None:
        """Return the newest run whose title begins with the dispatch's id; raises `RunLookupFailed`.

        `since`, in Unix seconds by our clock, is when the dispatch was first sent.
        """
        async for page in self.list_runs(repository, since=since):
            for run in page.runs:
                if run.display_title.startswith(dispatch_id):
                    return run
        return None

    async def list_runs(self, repository: str, *, since: float | None = None) -> AsyncGenerator[Page, None]:
        """Yield the runs created after `since` (Unix seconds by our clock), newest first, as far as GitHub lists them.

        A page is requested when the caller asks for it. Raises `RunLookupFailed`.
        """
        for position in range(1, MAX_RUN_PAGES + 1):
            page = await self._list(repository, since, position)
            yield page
            if page.is_last:
                return

    async def read_run(self, repository: str, run_id: int) -> Run | None:
        """Return the run as it is now; None if it was deleted. Raises `RunLookupFailed`."""
        outcome = await self.ask("GET", repository, f"actions/runs/{run_id}")
        if isinstance(outcome, Answer) and outcome.status == 404:
            return None
        answer = _successful(repository, outcome)
        try:
            return Run.model_validate(answer.json)
        except ValidationError as error:
            raise RunLookupFailed(Answer(502, message="the response is not a run")) from error

    async def ask(
        self,
        method: str,
        repository: str,
        path: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        signed_for: str = "",
    ) -> Outcome:
        """Send a request about the repository; `path` is below its own, `body` is sent as JSON.

        `signed_for` is the repository whose token signs the request, if it is another one.
        Never raises for what GitHub does. After a 401 the request is repeated once if the credential has a new token.
        """
        content = None if body is None else json.dumps(body).encode()
        request = self._client.build_request(
            method, f"repos/{repository}/{path}".rstrip("/"), params=query, content=content, headers=headers
        )
        if content is not None:
            request.headers["Content-Type"] = "application/json"
        try:
            signed_for = signed_for or repository
            response = await self._signed(request, signed_for)
            if response.status_code == 401 and await self._credential.refused(signed_for):
                response = await self._signed(request, signed_for)
        except SignInFailed as error:
            return error.outcome  # it counts as the request's own: the hint is the same
        except _NOT_SENT_ERRORS as error:
            return NotSent(type(error).__name__)
        except AnswerUnreadable as error:
            return Unanswered(str(error))
        except httpx2.HTTPError as error:
            return Unanswered(type(error).__name__)
        answer = Answer.read(response)
        if answer.is_success or answer.status == 304:
            self._note_limits(answer.headers)
        return answer

    async def _signed(self, request: httpx2.Request, repository: str) -> httpx2.Response:
        request.headers["Authorization"] = await self._credential.header(repository)
        return await http_answers.ask(self._client, request)

    def _note_limits(self, headers: Mapping[str, str]) -> None:
        limit, remaining, reset = (
            number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining", "reset")
        )
        if limit is not None and remaining is not None and reset is not None:
            self.quota = Quota(int(limit), int(remaining), reset)
        # `2026-01-31 12:00:00 UTC` or `2026-01-31 12:00:00 +0100`
        expiry = headers.get("github-authentication-token-expiration", "").replace("UTC", "+0000")
        try:
            self.token_expires_at = datetime.strptime(expiry, "%Y-%m-%d %H:%M:%S %z").timestamp()
        except ValueError:
            self.token_expires_at = None

    async def _list(self, repository: str, since: float | None, position: int) -> Page:
        """Return one page of the list, from memory if GitHub answers that it hasn't changed.

        A run that can't be read is omitted, so that the other runs of its repository are still followed.
        """
        query = {"per_page": str(RUNS_PER_PAGE), "page": str(position)}
        if since is not None:
            begin = max((since - _CLOCK_SKEW) // _STEP * _STEP, 0.0)
            query["created"] = f">={datetime.fromtimestamp(begin, UTC):%Y-%m-%dT%H:%M:%SZ}"
        key = json.dumps([repository, query])
        etag, cached = self._pages.get(key, ("", Page((), is_last=True)))
        headers = {"If-None-Match": etag} if etag else {}
        outcome = await self.ask("GET", repository, "actions/runs", query=query, headers=headers)
        if isinstance(outcome, Answer) and outcome.status == 304 and etag:
            self._pages.move_to_end(key)
            return cached

        answer = _successful(repository, outcome)
        try:
            listed = _Runs.model_validate(answer.json).workflow_runs
        except ValidationError as error:
            raise RunLookupFailed(Answer(502, message="the response is not a list of runs")) from error
        page = Page(tuple(run for entry in listed if (run := _run(entry))), is_last=len(listed) < RUNS_PER_PAGE)
        if listed and not page.runs:
            raise RunLookupFailed(Answer(502, message="the response is not a list of runs"))

        etag = answer.headers.get("etag", "")
        if etag and etag.isascii():  # httpx2 can send no other
            self._pages[key] = (etag, page)
            self._pages.move_to_end(key)
            if len(self._pages) > MAX_CACHED_RUN_PAGES:
                self._pages.popitem(last=False)
        return page


def _successful(repository: str, outcome: Outcome) -> Answer:
    """Return an answer with status 200; raises `RunLookupFailed` for anything else."""
    if not isinstance(outcome, Answer):
        raise RunLookupFailed(outcome)
    if outcome.status in (403, 404) and not is_rate_limit(outcome):
        raise ActionsUnreadable(
            outcome,
            f"the runs of {repository} can't be read ({summary(outcome)})",
            "grant the token or App actions=read on the repository, and check that GitHub Actions is enabled",
        )
    if outcome.status != 200:
        raise RunLookupFailed(outcome)
    return outcome


def _with_run(outcome: Outcome) -> Outcome:
    """Add the run to the answer to a workflow_dispatch if it names one (200; a 204 doesn't)."""
    if not isinstance(outcome, Answer) or outcome.status != 200:
        return outcome
    try:
        started = _Started.model_validate(outcome.json)
    except ValidationError:
        return outcome  # the run will be found by its title
    return replace(outcome, run_id=started.workflow_run_id, run_url=started.html_url)


def _run(entry: object) -> Run | None:
    try:
        return Run.model_validate(entry)
    except ValidationError:
        return None
