import pytest

from bridge.core.findings import FindingState
from bridge.doctor import clock

DATE = "Thu, 01 Jan 2026 12:00:00 GMT"
AT = 1767268800.0


def test_a_difference_that_the_requests_duration_and_whole_seconds_explain_counts_as_none() -> None:
    assert clock.seconds_ahead(DATE, AT, AT) == 0
    assert clock.seconds_ahead(DATE, AT - 5, AT + 5) == 0
    assert clock.seconds_ahead(DATE, AT + 0.9, AT + 1.2) == 0


def test_a_difference_has_a_direction() -> None:
    assert clock.seconds_ahead(DATE, AT + 61, AT + 62) == 60
    assert clock.seconds_ahead(DATE, AT - 62, AT - 60) == -60


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Jan 2026 12:00:00 GMT"])
def test_without_a_readable_date_the_result_is_unknown(date: str | None) -> None:
    ahead = clock.seconds_ahead(date, AT, AT)
    assert ahead is None
    assert clock.check_github(ahead, "https://api.github.com").state is FindingState.UNKNOWN


@pytest.mark.parametrize(
    ("ahead", "state"),
    [
        (0, FindingState.OK),
        (10, FindingState.OK),
        (11, FindingState.WARNING),
        (60, FindingState.WARNING),
        (61, FindingState.FAILED),
        (-61, FindingState.FAILED),
    ],
)
def test_github_accepts_a_difference_of_a_minute(ahead: float, state: FindingState) -> None:
    assert clock.check_github(ahead, "").state is state


@pytest.mark.parametrize(
    ("ahead", "state"),
    [(300, FindingState.WARNING), (301, FindingState.FAILED), (-60, FindingState.WARNING), (-61, FindingState.FAILED)],
)
def test_mlflows_deliveries_may_be_old_and_only_a_minute_ahead(ahead: float, state: FindingState) -> None:
    finding = clock.check_mlflow(ahead, "", 300.0)
    assert (finding.state, bool(finding.hint)) == (state, True)
    assert ("ahead of MLflow's" if ahead > 0 else "behind MLflow's") in finding.message
