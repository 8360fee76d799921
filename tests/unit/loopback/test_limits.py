from datetime import UTC, datetime, timedelta

from tests.loopback.github.limits import Limits, Meter

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_the_minutes_content_is_limited_and_the_wait_is_until_the_oldest_is_a_minute_old() -> None:
    meter = Meter(Limits())
    assert [meter.create(after(second / 4)) for second in range(80)] == [0] * 80
    assert meter.create(after(20)) == 40
    assert meter.create(after(59.5)) == 1
    assert meter.create(after(60)) == 0
    assert meter.create(after(60.1)) == 1


def test_the_hours_content_is_limited_too() -> None:
    meter = Meter(Limits(content_an_hour=3))
    assert [meter.create(after(100 * number)) for number in range(3)] == [0, 0, 0]
    assert meter.create(after(1000)) == 2600
    assert meter.create(after(3600)) == 0


def test_a_refused_request_does_not_lengthen_the_wait() -> None:
    meter = Meter(Limits(content_a_minute=1))
    meter.create(NOON)
    for second in range(1, 60):
        assert meter.create(after(second)) == 60 - second
    assert meter.create(after(60)) == 0
