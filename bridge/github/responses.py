"""GitHub's answer to a request, and what to do after it.

Sources: GitHub's "Best practices for using the REST API" and "Rate limits for the REST API". Times are Unix seconds,
durations seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx2

from bridge.core.dispatches import ACCESS_DELAY, Decision, Pause, Reject, Retry, Sent, VerifyThenRetry
from bridge.core.limits import MAX_ERROR_MESSAGE, MAX_HEADER_DIGITS
from bridge.core.text import clean, read_json

FIRST_DELAY = 2.0
MAX_DELAY = 300.0
MIN_RATE_DELAY = 60.0
MAX_RATE_DELAY = 3600.0
"""GitHub's limits are per hour: a longer time in a header comes from a wrong clock."""

MOVED: Final = frozenset({301, 302, 307, 308})

_HEADERS: Final = (
    "date",
    "etag",
    "github-authentication-token-expiration",
    "retry-after",
    "x-accepted-github-permissions",
    "x-github-enterprise-version",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
)


@dataclass(frozen=True)
class Answer:
    """GitHub answered. `headers` are those used here, in lower case; `message` is that of an error's body, in one line.

    `run_id` and `run_url` are set if the answer names the run that the request started.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    run_id: int | None = None
    run_url: str | None = None
    text: str = field(default="", compare=False, repr=False)
    """The body."""

    @classmethod
    def read(cls, response: httpx2.Response) -> Self:
        """Return the parts of a response that are used here."""
        headers = {name: clean(response.headers[name]) for name in _HEADERS if name in response.headers}
        answer = cls(response.status_code, headers, text=response.content.decode("utf-8-sig", "replace"))
        message = None
        if not answer.is_success and isinstance(body := answer.json, dict):  # a proxy's error page has no message
            message = body.get("message")
        if not isinstance(message, str):
            return answer
        return cls(answer.status, headers, " ".join(clean(message).split())[:MAX_ERROR_MESSAGE], text=answer.text)

    @property
    def is_success(self) -> bool:
        """Whether GitHub did what was requested."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """The body as JSON; None if it isn't JSON."""
        try:
            return read_json(self.text)
        except ValueError:
            return None


@dataclass(frozen=True)
class NotSent:
    """The request never left this machine, so GitHub can't have acted on it."""

    cause: str


@dataclass(frozen=True)
class Unanswered:
    """The request may have left, but no answer arrived: GitHub may have acted on it."""

    cause: str


Outcome = Answer | NotSent | Unanswered


def summary(outcome: Outcome) -> str:
    """Return status and message of an answer, else why there is none; in one line."""
    text = f"{outcome.status} {outcome.message}" if isinstance(outcome, Answer) else outcome.cause
    return " ".join(text.split())[:MAX_ERROR_MESSAGE]


def decide(outcome: Outcome, *, attempts: int, pauses: int, now: float, settle: float, chance: float) -> Decision:
    """Decide what happens to a dispatch after a request for it.

    `attempts` counts its earlier requests, `pauses` the lane's successive pauses; `settle` is how long GitHub may take
    to show a run; `chance` is a random number from 0 to 1.
    """
    if isinstance(outcome, Unanswered):
        reason = f"GitHub did not respond ({summary(outcome)}): will check for a run before the retry"
        return VerifyThenRetry(now + settle, reason)
    at = now + delay(attempts, chance)
    if isinstance(outcome, NotSent):
        reason = f"GitHub can't be reached ({summary(outcome)}): check GITHUB_API_URL; will retry automatically"
        return Retry(at, reason)
    if outcome.is_success:
        return Sent(outcome.run_id, outcome.run_url)
    if outcome.status == 422:
        return Reject(f"GitHub rejected the dispatch ({summary(outcome)}): fix the cause, then replay the delivery")
    return pause(outcome, pauses=pauses, now=now) or Retry(
        at, f"the request to GitHub failed ({summary(outcome)}): will retry automatically"
    )


def delay(attempts: int, chance: float) -> float:
    """Return the seconds until the next attempt: doubling from 2 s to 5 min, with jitter."""
    longest = min(FIRST_DELAY * 2.0 ** min(attempts + 1, 16), MAX_DELAY)
    return FIRST_DELAY + (longest - FIRST_DELAY) * chance


def pause(answer: Answer, *, pauses: int, now: float) -> Pause | None:
    """Return the pause if the answer is about the credential, its rate limit or its permissions, else None."""
    if is_rate_limit(answer):
        until = now + _rate_delay(answer, pauses, now)
        return Pause(until, f"GitHub's rate limit is exceeded ({summary(answer)}): will resume automatically")
    hint = _access_hint(answer)
    if hint:
        reason = f"GitHub refused the request ({summary(answer)}): {hint}"
        return Pause(now + ACCESS_DELAY, reason, repository_only=answer.status != 401)
    return None


def is_rate_limit(answer: Answer) -> bool:
    """Whether a rate limit is exceeded: GitHub then answers 429, or 403 as for a missing permission."""
    if answer.status == 429:
        return True
    return answer.status == 403 and (
        "retry-after" in answer.headers
        or answer.headers.get("x-ratelimit-remaining") == "0"
        or "rate limit" in answer.message.lower()
    )


def _rate_delay(answer: Answer, pauses: int, now: float) -> float:
    """`Retry-After` first; then `x-ratelimit-reset` if nothing remains; else a minute, doubling."""
    after = number(answer.headers.get("retry-after"))
    if after is not None:
        return min(max(after, 1.0), MAX_RATE_DELAY)
    reset = number(answer.headers.get("x-ratelimit-reset"))
    if reset is not None and reset > now and answer.headers.get("x-ratelimit-remaining") == "0":
        return min(max(reset - now, 1.0), MAX_RATE_DELAY)
    return min(MIN_RATE_DELAY * 2.0 ** min(pauses, 16), MAX_RATE_DELAY)


def _access_hint(answer: Answer) -> str | None:
    if answer.status == 401:
        return "renew GITHUB_TOKEN, or check GITHUB_APP_ID and its private key"
    if answer.status == 403:
        needed = answer.headers.get(
            "x-accepted-github-permissions", "contents=write, or actions=write for a route with a workflow"
        )
        return f"grant the token or App the permission {needed}"
    if answer.status == 404:
        return (
            "check that the repository exists and that the token or App has contents=write on it; for a route with a "
            "workflow, check that its file exists, and that the token or App has actions=write"
        )
    if answer.status in MOVED:
        return "set GITHUB_REPOSITORY or the route to the repository's new name, and replay the deliveries"
    return None


def number(text: str | None) -> float | None:
    """Read a header that holds a whole number; anything but a few plain digits counts as absent."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > MAX_HEADER_DIGITS:
        return None
    return float(text)
