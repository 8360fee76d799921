import pytest

from bridge.core.findings import State
from bridge.doctor import clock

DATE = "Thu, 01 Jan 2026 12:00:00 GMT"
AT = 1767268800.0


def test_what_the_way_and_whole_seconds_explain_is_no_difference() -> None:
    assert clock.ahead(DATE, AT, AT) == 0
    assert clock.ahead(DATE, AT - 5, AT + 5) == 0
    assert clock.ahead(DATE, AT + 0.9, AT + 1.2) == 0


def test_a_difference_is_told_with_its_direction() -> None:
    assert clock.ahead(DATE, AT + 61, AT + 62) == 60
    assert clock.ahead(DATE, AT - 62, AT - 60) == -60


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Jan 2026 12:00:00 GMT"])
def test_a_date_that_is_none_tells_no_time(date: str | None) -> None:
    ahead = clock.ahead(date, AT, AT)
    assert ahead is None
    assert clock.github(ahead, "https://api.github.com").state is State.UNKNOWN


@pytest.mark.parametrize(
    ("ahead", "state"),
    [(0, State.OK), (10, State.OK), (11, State.WARNING), (60, State.WARNING), (61, State.FAILED), (-61, State.FAILED)],
)
def test_github_takes_a_minute(ahead: float, state: State) -> None:
    assert clock.github(ahead, "").state is state


@pytest.mark.parametrize(
    ("ahead", "state"), [(300, State.WARNING), (301, State.FAILED), (-60, State.WARNING), (-61, State.FAILED)]
)
def test_mlflows_deliveries_may_be_old_and_only_a_minute_ahead(ahead: float, state: State) -> None:
    finding = clock.mlflow(ahead, "", 300.0)
    assert (finding.state, bool(finding.mend)) == (state, True)
    assert ("ahead of MLflow's" if ahead > 0 else "behind MLflow's") in finding.said
