import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.dispatches import Decision, Pause, Reject, Retry, Sent, VerifyThenRetry
from bridge.github.responses import Answer, NotSent, Outcome, Unanswered, decide, delay, is_rate_limit

NOW = 1_700_000_000.0


def decided(outcome: Outcome, *, attempts: int = 0, pauses: int = 0, chance: float = 0.5) -> Decision:
    return decide(outcome, attempts=attempts, pauses=pauses, now=NOW, settle=120.0, chance=chance)


@pytest.mark.parametrize("status", [200, 204])
def test_a_success_is_sent(status: int) -> None:
    assert decided(Answer(status)) == Sent()


def test_an_unprocessable_dispatch_is_rejected_with_githubs_message() -> None:
    decision = decided(Answer(422, message="Invalid request.\n\nNo more than 10 properties"))
    assert isinstance(decision, Reject)
    assert "422 Invalid request. No more than 10 properties" in decision.reason


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (Answer(401, message="Bad credentials"), "renew GITHUB_TOKEN"),
        (Answer(403, message="Resource not accessible by personal access token"), "contents=write"),
        (Answer(403, {"x-accepted-github-permissions": "contents=write; x"}), "contents=write; x"),
        (Answer(404, message="Not Found"), "repository exists"),
        (Answer(301, message="Moved Permanently"), "GITHUB_REPOSITORY"),
        (Answer(307), "GITHUB_REPOSITORY"),
    ],
)
def test_missing_access_pauses_for_a_minute_with_a_hint(answer: Answer, hint: str) -> None:
    decision = decided(answer, pauses=9)
    assert isinstance(decision, Pause)
    assert decision.until == NOW + 60
    assert hint in decision.reason
    assert decision.repository_only == (answer.status != 401)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(429, {"retry-after": "7"}), 7),
        (Answer(403, {"retry-after": "7", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 90)}), 7),
        (Answer(403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 90)}), 90),
        (Answer(429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 90)}), 90),
        (Answer(429, {"x-ratelimit-remaining": "12", "x-ratelimit-reset": str(int(NOW) + 90)}), 60),
        (Answer(403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) - 90)}), 60),
        (Answer(403, {"x-ratelimit-remaining": "0"}), 60),
        (Answer(403, message="You have exceeded a secondary rate limit"), 60),
        (Answer(429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), 60),
        (Answer(429, {"retry-after": "0"}), 1),
        (Answer(429, {"retry-after": "9" * 12}), 3600),
    ],
)
def test_a_rate_limit_pauses_the_lane_for_the_time_that_github_names(answer: Answer, seconds: float) -> None:
    decision = decided(answer)
    assert isinstance(decision, Pause)
    assert decision.until == NOW + seconds


def test_rate_limits_without_a_time_pause_longer_each_time() -> None:
    pauses = [decided(Answer(429), pauses=count) for count in (0, 1, 2, 50)]
    assert [pause.until - NOW for pause in pauses if isinstance(pause, Pause)] == [60, 120, 240, 3600]


@pytest.mark.parametrize("status", [400, 409, 500, 502, 503, 504])
def test_any_other_failure_is_retried(status: int) -> None:
    decision = decided(Answer(status), chance=1.0)
    assert isinstance(decision, Retry)
    assert decision.at == NOW + 4


def test_a_request_that_was_not_sent_is_retried() -> None:
    assert isinstance(decided(NotSent("ConnectError")), Retry)


def test_a_request_without_an_answer_is_verified_before_a_retry() -> None:
    decision = decided(Unanswered("ReadTimeout"))
    assert isinstance(decision, VerifyThenRetry)
    assert decision.at == NOW + 120


@given(st.integers(min_value=0), st.floats(min_value=0, max_value=1))
def test_a_delay_is_between_2_seconds_and_5_minutes(attempts: int, chance: float) -> None:
    assert 2 <= delay(attempts, chance) <= 300


def test_delays_double_up_to_5_minutes() -> None:
    assert [delay(attempts, 1.0) for attempts in (0, 1, 2, 7, 10**9)] == [4, 8, 16, 300, 300]


headers = st.dictionaries(
    st.sampled_from(["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "x-accepted-github-permissions"]),
    st.text() | st.integers().map(str),
)


@given(st.integers(100, 599), headers, st.text(), st.integers(0), st.integers(0), st.floats(0, 1))
def test_any_answer_leads_to_a_decision_within_an_hour(
    status: int, answered: dict[str, str], message: str, attempts: int, pauses: int, chance: float
) -> None:
    decision = decided(Answer(status, answered, message), attempts=attempts, pauses=pauses, chance=chance)
    match decision:
        case Retry(at, reason) | VerifyThenRetry(at, reason) | Pause(at, reason):
            assert NOW + 1 <= at <= NOW + 3600
            assert len(reason.splitlines()) == 1
        case Reject(reason):
            assert status == 422
        case Sent():
            assert 200 <= status < 300


def test_a_403_without_a_limit_is_not_a_rate_limit() -> None:
    assert not is_rate_limit(Answer(403, {"x-ratelimit-remaining": "4999"}, "Resource not accessible"))
