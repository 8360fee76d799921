import pytest

from bridge.dispatcher import Dispatcher
from tests.unit.web.conftest import Bridge


def test_a_loop_whose_steps_fail_in_a_row_is_degraded(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dispatcher, "failing", True)
    (said,) = bridge.get("/ready").json()["degraded"]
    assert "dispatcher" in said
