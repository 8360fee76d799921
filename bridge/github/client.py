"""GitHub's REST API over httpx: dispatch, and find and read the runs that dispatches cause.

Sources: GitHub's REST API, "Create a repository dispatch event", "Create a workflow dispatch event", "List workflow
runs for a repository", "Get a workflow run"; GitHub Enterprise Server is the same but for what is said here.
"""

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Any, Final, Protocol, Self

import httpx
from pydantic import BaseModel, Field, ValidationError

from bridge import __version__
from bridge.core import http_answers
from bridge.core.dispatches import Run as Run
from bridge.core.dispatches import RunId
from bridge.core.errors import BridgeError
from bridge.core.http_answers import AnswerUnreadable
from bridge.core.payload import workflow_inputs
from bridge.core.text import Text, clean, read_json
from bridge.github.responses import Answer, NotSent, Outcome, Unanswered, is_rate_limit, number

API_VERSION: Final = "2022-11-28"
"""The newest that GitHub Enterprise Server knows."""

_TELLS_RUNS: Final = "2026-03-10"
"""From this API version on, a workflow_dispatch is answered with its run without being asked for it."""

_HEADERS: Final = {
    "Accept": "application/vnd.github+json",
    "User-Agent": f"mlflow-actions-bridge/{__version__}",
}
_TIMEOUT: Final = httpx.Timeout(15.0, connect=10.0)
"""Seconds without a byte. GitHub itself ends a request after 10 s; `reading` limits the whole call."""

_NEVER_LEFT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_PER_PAGE: Final = 100
_PAGES: Final = 10
"""How far a list is read: 1,000 runs, which is all that GitHub gives for one search."""

_REMEMBERED: Final = 64
"""Pages of lists that are kept, to ask for them only where they have changed."""

_LEEWAY: Final = 7200.0
"""Seconds that GitHub's clock may be behind ours: an hour for a wrong zone, and one to spare."""

_STEP: Final = 3600.0
"""Seconds. A list begins at a whole hour, so that the same question is asked again and a 304 can answer it."""

_HEADERS_THAT_COUNT: Final = (
    "retry-after",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-accepted-github-permissions",
)


class Credential(Protocol):
    """What GitHub knows us by."""

    async def header(self, repository: str) -> str:
        """Give the value of the Authorization header for requests about the repository; raises `SignInFailed`."""

    async def refused(self, repository: str) -> bool:
        """Be told of a 401; True where the next `header` is worth one retry."""


@dataclass(frozen=True, repr=False)
class StaticToken:
    """A token that somebody made, and that only somebody can renew."""

    token: str

    async def header(self, repository: str) -> str:  # noqa: ARG002  one for all of them
        """Give the token as a header."""
        return f"Bearer {self.token}"

    async def refused(self, repository: str) -> bool:  # noqa: ARG002
        """Say that there is no other one."""
        return False


@dataclass(frozen=True)
class Quota:
    """How many requests are left until `reset` (Unix seconds), as the last answer told."""

    limit: int
    remaining: int
    reset: float


class SignInFailed(BridgeError):
    """There is no token to send a request with; `outcome` is what came instead of one."""

    def __init__(self, outcome: Answer | NotSent, message: str) -> None:
        self.outcome = outcome
        super().__init__(message)


class LookFailed(BridgeError):
    """GitHub didn't say whether there is a run; `outcome` is what came instead."""

    def __init__(self, outcome: Outcome, message: str = "") -> None:
        self.outcome = outcome
        said = " ".join(str(part) for part in vars(outcome).values() if isinstance(part, str | int) and part)
        super().__init__(message or f"GitHub did not list the repository's runs ({said}): it is asked again by itself")


class ActionsUnreadable(LookFailed):
    """The token may not read the repository's Actions, so that whether there is a run can't be known."""


@dataclass(frozen=True)
class Page:
    """A hundred of a repository's runs; `is_last` where there are no older ones since the time asked for."""

    runs: tuple[Run, ...]
    is_last: bool


class _Runs(BaseModel):
    workflow_runs: Annotated[tuple[Any, ...], Field(max_length=_PER_PAGE)]


class _Started(BaseModel):
    workflow_run_id: RunId
    html_url: Text | None = None


class GithubApi:
    """A client of one GitHub with one credential; use it as an asynchronous context manager.

    `quota` and `token_expires_at` (Unix seconds) are what the last answer told, None where none did.
    """

    def __init__(self, url: str, credential: Credential, *, api_version: str = API_VERSION) -> None:
        self.quota: Quota | None = None
        self.token_expires_at: float | None = None
        self._credential = credential
        self._asks_for_run = api_version < _TELLS_RUNS
        self._pages: OrderedDict[str, tuple[str, Page]] = OrderedDict()
        self._client = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/",
            headers={**_HEADERS, "X-GitHub-Api-Version": api_version},
            cookies=http_answers.no_cookies(),
            timeout=_TIMEOUT,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def dispatch(self, repository: str, event_type: str, payload: str) -> Outcome:
        """Ask for a repository_dispatch with `payload` (JSON) as client_payload; never raises for what GitHub does."""
        body = {"event_type": event_type, "client_payload": json.loads(payload)}
        answer = await self._post(repository, "dispatches", body)
        return _answer(answer) if isinstance(answer, httpx.Response) else answer

    async def workflow_dispatch(self, repository: str, workflow: str, ref: str, payload: str) -> Outcome:
        """Start the workflow (a file's name) on `ref` with `payload` (JSON) among its inputs.

        The `Answer` names the run where GitHub does. GitHub Enterprise Server refuses to be asked for it (400) and is
        then asked without. Never raises for what GitHub does.
        """
        path = f"actions/workflows/{workflow}/dispatches"
        body = {"ref": ref, "inputs": workflow_inputs(payload)}
        if self._asks_for_run:
            answer = await self._post(repository, path, {**body, "return_run_details": True})
            if not isinstance(answer, httpx.Response):
                return answer
            if answer.status_code != 400:
                return _started(answer)
        answer = await self._post(repository, path, body)
        if not isinstance(answer, httpx.Response):
            return answer
        self._asks_for_run = self._asks_for_run and not answer.is_success
        return _started(answer)

    async def find_run(self, repository: str, dispatch_id: str, *, since: float | None = None) -> Run | None:
        """Give the newest run whose title begins with the dispatch's id; raises `LookFailed`.

        `since`, in Unix seconds by our clock, is when it was first sent.
        """
        async for page in self.list_runs(repository, since=since):
            for run in page.runs:
                if run.display_title.startswith(dispatch_id):
                    return run
        return None

    async def list_runs(self, repository: str, *, since: float | None = None) -> AsyncGenerator[Page, None]:
        """Give the runs made `since` (Unix seconds by our clock), newest first, as far as GitHub gives them.

        Each page is asked for when it is wanted. Raises `LookFailed`.
        """
        for each in range(1, _PAGES + 1):
            page = await self._list(repository, since, each)
            yield page
            if page.is_last:
                return

    async def read_run(self, repository: str, run_id: int) -> Run | None:
        """Give the run as it is now; None where it has been deleted. Raises `LookFailed`."""
        answer = await self._send("GET", repository, f"actions/runs/{run_id}")
        if isinstance(answer, httpx.Response) and answer.status_code == 404:
            return None
        content = _content(repository, answer)
        try:
            return Run.model_validate(read_json(content))
        except ValueError as error:
            raise LookFailed(Answer(502, message="an answer that is no run")) from error

    async def ask(
        self,
        method: str,
        repository: str,
        path: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response | NotSent | Unanswered:
        """Ask for something below the repository, or for itself; never raises for what GitHub does."""
        more = dict(headers or {})
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            more["Content-Type"] = "application/json"
        return await self._send(method, repository, path, query=query, content=content, headers=more)

    async def _list(self, repository: str, since: float | None, page: int) -> Page:
        """Give one page of the list, from memory where GitHub says that it hasn't changed.

        A run that can't be read is left out; the other runs of its repository are still followed.
        """
        query = {"per_page": str(_PER_PAGE), "page": str(page)} | _created(since)
        question = json.dumps([repository, query])
        etag, known = self._pages.get(question, ("", Page((), is_last=True)))
        answer = await self._send(
            "GET", repository, "actions/runs", query=query, headers={"If-None-Match": etag} if etag else {}
        )
        if isinstance(answer, httpx.Response) and answer.status_code == 304 and etag:
            self._pages.move_to_end(question)
            return known
        content = _content(repository, answer)
        try:
            listed = _Runs.model_validate(read_json(content)).workflow_runs
        except ValueError as error:
            raise LookFailed(Answer(502, message="an answer that is no list of runs")) from error
        found = Page(tuple(run for each in listed if (run := _run(each))), is_last=len(listed) < _PER_PAGE)
        if listed and not found.runs:
            raise LookFailed(Answer(502, message="an answer that is no list of runs"))
        if isinstance(answer, httpx.Response) and "etag" in answer.headers:
            self._remember(question, answer.headers["etag"], found)
        return found

    def _remember(self, question: str, etag: str, page: Page) -> None:
        self._pages[question] = (etag, page)
        self._pages.move_to_end(question)
        if len(self._pages) > _REMEMBERED:
            self._pages.popitem(last=False)

    async def _post(self, repository: str, path: str, body: Mapping[str, Any]) -> httpx.Response | NotSent | Unanswered:
        content = json.dumps(body).encode()
        return await self._send("POST", repository, path, content=content, headers={"Content-Type": "application/json"})

    async def _send(
        self,
        method: str,
        repository: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response | NotSent | Unanswered:
        """Send the request, once more after a 401 where the credential has a new token.

        Tells whether the request can have left where no answer came.
        """
        request = self._client.build_request(
            method, f"repos/{repository}/{path}".rstrip("/"), params=query, content=content, headers=headers
        )
        try:
            answer = await self._signed(request, repository)
            if answer.status_code == 401 and await self._credential.refused(repository):
                answer = await self._signed(request, repository)
        except SignInFailed as error:
            return _unsigned(error.outcome)
        except _NEVER_LEFT as error:
            return NotSent(type(error).__name__)
        except AnswerUnreadable as error:
            return Unanswered(str(error))
        except httpx.HTTPError as error:
            return Unanswered(type(error).__name__)
        if answer.is_success or answer.status_code == 304:
            self._keep(answer.headers)
        return answer

    async def _signed(self, request: httpx.Request, repository: str) -> httpx.Response:
        request.headers["Authorization"] = await self._credential.header(repository)
        return await http_answers.ask(self._client, request)

    def _keep(self, headers: httpx.Headers) -> None:
        """Keep the quota and the token's expiry that the answer reports."""
        limit, remaining, reset = (
            number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining", "reset")
        )
        if limit is not None and remaining is not None and reset is not None:
            self.quota = Quota(int(limit), int(remaining), reset)
        self.token_expires_at = _expiry(headers.get("github-authentication-token-expiration"))


def _created(since: float | None) -> dict[str, str]:
    if since is None:
        return {}
    begin = (since - _LEEWAY) // _STEP * _STEP
    return {"created": f">={datetime.fromtimestamp(max(begin, 0.0), UTC):%Y-%m-%dT%H:%M:%SZ}"}


def _content(repository: str, answer: httpx.Response | NotSent | Unanswered) -> bytes:
    """Give the body of a 200; raises `LookFailed` for anything else."""
    if not isinstance(answer, httpx.Response):
        raise LookFailed(answer)
    if answer.status_code == 200:
        return answer.content
    outcome = _answer(answer)
    if outcome.status in (403, 404) and not is_rate_limit(outcome):
        raise ActionsUnreadable(
            outcome,
            f"the runs of {repository} can't be seen ({outcome.status} {outcome.message}): give the token or app the "
            "permission actions=read on that repository, and check that Actions are enabled there",
        )
    raise LookFailed(outcome)


def _unsigned(outcome: Answer | NotSent) -> httpx.Response | NotSent:
    """Take a refusal to sign us in for the request's own: it never left, and the mend is the same."""
    if isinstance(outcome, NotSent):
        return outcome
    return httpx.Response(outcome.status, headers=dict(outcome.headers), json={"message": outcome.message})


def _started(answer: httpx.Response) -> Answer:
    """Give the answer to a workflow_dispatch, with the run where it names one (200; a 204 doesn't)."""
    outcome = _answer(answer)
    if answer.status_code != 200:
        return outcome
    try:
        started = _Started.model_validate(read_json(answer.content))
    except ValueError:
        return outcome  # the run is found by its title
    return Answer(outcome.status, outcome.headers, run_id=started.workflow_run_id, run_url=started.html_url)


def _answer(answer: httpx.Response) -> Answer:
    headers = {name: clean(answer.headers[name]) for name in _HEADERS_THAT_COUNT if name in answer.headers}
    return Answer(answer.status_code, headers, message(answer.content))


def message(content: bytes | str) -> str:
    """Give GitHub's own message for an error; empty for a proxy's error page."""
    try:
        body = read_json(content)
    except ValueError:
        return ""
    words = body.get("message") if isinstance(body, dict) else None
    return clean(words) if isinstance(words, str) else ""


def _run(listed: object) -> Run | None:
    try:
        return Run.model_validate(listed)
    except ValidationError:
        return None


def _expiry(text: str | None) -> float | None:
    """Read `2026-01-31 12:00:00 UTC` or `2026-01-31 12:00:00 +0100`; None where there is none, or one unreadable."""
    try:
        return datetime.strptime((text or "").replace("UTC", "+0000"), "%Y-%m-%d %H:%M:%S %z").timestamp()
    except ValueError:
        return None
