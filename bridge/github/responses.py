"""What to do after a request to GitHub.

Sources: GitHub's "Best practices for using the REST API" and "Rate limits for the REST API". Times are Unix seconds,
durations seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.core.dispatches import ACCESS_DELAY, Decision, Pause, Reject, Retry, Sent, VerifyThenRetry

FIRST_DELAY = 2.0
MAX_DELAY = 300.0
MIN_RATE_DELAY = 60.0
MAX_RATE_DELAY = 3600.0
"""GitHub's limits are by the hour: a longer hint is a wrong clock."""

_MOVED = frozenset({301, 302, 307, 308})


@dataclass(frozen=True)
class Answer:
    """GitHub answered: status, headers with lower-case names, and the `message` of its error body.

    `run_id` and `run_url` where the answer names the run that the request started.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    run_id: int | None = None
    run_url: str | None = None


@dataclass(frozen=True)
class NotSent:
    """The request never left this machine, so GitHub can't have acted on it."""

    cause: str


@dataclass(frozen=True)
class Unanswered:
    """The request may have left, and no answer came: GitHub may have acted on it."""

    cause: str


Outcome = Answer | NotSent | Unanswered


def decide(outcome: Outcome, *, attempts: int, pauses: int, now: float, settle: float, chance: float) -> Decision:
    """Decide what becomes of a dispatch after a request for it.

    `attempts` counts its requests so far without this one, `pauses` the lane's pauses in a row; `settle` is how long
    GitHub may take to show a run; `chance` is a random number from 0 to 1.
    """
    match outcome:
        case Unanswered(cause):
            return VerifyThenRetry(
                now + settle, f"GitHub gave no answer ({cause}): looking for the run before sending again"
            )
        case NotSent(cause):
            return Retry(now + delay(attempts, chance), f"GitHub can't be reached ({cause}): check GITHUB_API_URL")
        case Answer():
            return _after_answer(outcome, attempts, pauses, now, chance)


def delay(attempts: int, chance: float) -> float:
    """Give the wait before the next try: doubling from 2 s to 5 min, with jitter."""
    longest = min(FIRST_DELAY * 2.0 ** min(attempts + 1, 16), MAX_DELAY)
    return FIRST_DELAY + (longest - FIRST_DELAY) * chance


def pause(answer: Answer, *, pauses: int, now: float) -> Pause | None:
    """Give the pause where the answer is about the credential, its rate limit or its rights there, else None."""
    if is_rate_limit(answer):
        until = now + _rate_delay(answer, pauses, now)
        return Pause(until, f"GitHub's rate limit is used up ({_said(answer)}): it goes on by itself")
    hint = _access_mend(answer)
    if hint:
        reason = f"GitHub refuses ({_said(answer)}): {hint}"
        return Pause(now + ACCESS_DELAY, reason, repository_only=answer.status != 401)
    return None


def _after_answer(answer: Answer, attempts: int, pauses: int, now: float, chance: float) -> Decision:
    if 200 <= answer.status < 300:
        return Sent(answer.run_id, answer.run_url)
    if answer.status == 422:
        return Reject(f"GitHub will not take the dispatch ({_said(answer)}): mend what it names, then replay it")
    paused = pause(answer, pauses=pauses, now=now)
    if paused:
        return paused
    return Retry(now + delay(attempts, chance), f"GitHub failed ({_said(answer)}): it is sent again by itself")


def is_rate_limit(answer: Answer) -> bool:
    """Tell a used-up rate limit, which GitHub answers with 403 or 429, from a want of permission."""
    if answer.status == 429:
        return True
    return answer.status == 403 and (
        "retry-after" in answer.headers
        or answer.headers.get("x-ratelimit-remaining") == "0"
        or "rate limit" in answer.message.lower()
    )


def _rate_delay(answer: Answer, pauses: int, now: float) -> float:
    """`Retry-After` first; then `x-ratelimit-reset` where nothing remains; else a minute, doubling."""
    after = number(answer.headers.get("retry-after"))
    if after is not None:
        return min(max(after, 1.0), MAX_RATE_DELAY)
    reset = number(answer.headers.get("x-ratelimit-reset"))
    if reset is not None and reset > now and answer.headers.get("x-ratelimit-remaining") == "0":
        return min(max(reset - now, 1.0), MAX_RATE_DELAY)
    return min(MIN_RATE_DELAY * 2.0 ** min(pauses, 16), MAX_RATE_DELAY)


def _access_mend(answer: Answer) -> str | None:
    if answer.status == 401:
        return "renew GITHUB_TOKEN, or check GITHUB_APP_ID and its key"
    if answer.status == 403:
        needed = answer.headers.get(
            "x-accepted-github-permissions", "contents=write, or actions=write for a route with a workflow"
        )
        return f"give the token or App the permission {needed}"
    if answer.status == 404:
        return (
            "check that the repository exists and that the token or App reaches it with contents=write; "
            "of a route with a workflow, that its file is there, with actions=write"
        )
    if answer.status in _MOVED:
        return "the repository has moved; set GITHUB_REPOSITORY, or the route, to its new name, and replay what waits"
    return None


def number(text: str | None) -> float | None:
    """Read a header of seconds; anything but up to twelve plain digits counts as absent."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 12:
        return None
    return float(text)


def _said(answer: Answer) -> str:
    """Give the status and GitHub's own words, in one line."""
    return " ".join(f"{answer.status} {answer.message}".split())[:300]
