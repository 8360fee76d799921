import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.dispatches import UNFINISHED
from bridge.core.routing import DispatchMethod
from bridge.ledger import DispatchDetails, DispatchState
from bridge.server.timeline import WIDTH, phases, steps

NOW = 1_700_000_000.0


def sending(
    state: DispatchState,
    sent: float | None = None,
    started: float | None = None,
    ended: float | None = None,
    at: float = NOW,
) -> DispatchDetails:
    about = ("1", "d", "r", "o/r", "t", DispatchMethod.REPOSITORY, None, None)
    return DispatchDetails(*about, state, None, None, None, at, at, sent, started, ended)


def test_an_image_is_received_dispatched_run_and_pushed() -> None:
    done = sending(DispatchState.SUCCEEDED, NOW + 2, NOW + 10, NOW + 70)
    assert [(step.name, step.took) for step in steps(done, NOW, pushed=True)] == [
        ("Received", None),
        ("Dispatched", 2),
        ("Run started", 8),
        ("Image pushed", 60),
    ]
    assert [(part.kind, part.seconds, part.open) for part in phases(done, now=NOW + 9999)] == [
        ("waiting", 2, False),
        ("starting", 8, False),
        ("running", 60, False),
    ]


def test_the_phase_of_a_running_dispatch_is_open_and_grows() -> None:
    running = sending(DispatchState.RUNNING, NOW + 2, NOW + 10)
    assert [step.name for step in steps(running, NOW, pushed=True)] == ["Received", "Dispatched", "Run started"]
    assert [(part.seconds, part.open) for part in phases(running, now=NOW + 30)] == [
        (2, False),
        (8, False),
        (20, True),
    ]


def test_a_run_that_was_started_again_is_not_over() -> None:
    again = sending(DispatchState.RUNNING, NOW + 2, NOW + 10, NOW + 20)
    assert [step.name for step in steps(again, NOW, pushed=False)] == ["Received", "Dispatched", "Run started"]
    assert phases(again, now=NOW + 30)[-1].open


@pytest.mark.parametrize(
    ("state", "last"),
    [
        (DispatchState.SUCCEEDED, "Run succeeded"),
        (DispatchState.FAILED, "Run failed"),
        (DispatchState.REJECTED, "Rejected by GitHub"),
        (DispatchState.UNSEEN, "No run appeared"),
        (DispatchState.SUPERSEDED, "Replaced by a newer dispatch"),
    ],
)
def test_every_end_has_its_name(state: DispatchState, last: str) -> None:
    assert steps(sending(state, ended=NOW + 3), NOW, pushed=False)[-1].name == last


def test_a_replay_is_a_step_of_its_own() -> None:
    replayed = steps(sending(DispatchState.PENDING, at=NOW + 500), NOW, pushed=False)
    assert [(step.name, step.took) for step in replayed] == [("Received", None), ("Replayed", 500)]


moments = st.none() | st.floats(NOW - 1e6, NOW + 1e6)


@given(st.sampled_from(DispatchState), moments, moments, moments, st.floats(NOW - 1e6, NOW + 1e6))
def test_no_phase_is_negative_and_the_bar_is_full_whatever_the_clocks_say(
    state: DispatchState, sent: float | None, started: float | None, ended: float | None, now: float
) -> None:
    dispatch = sending(state, sent, started, ended)
    assert all(step.took is None or step.took >= 0 for step in steps(dispatch, NOW, pushed=True))
    parts = phases(dispatch, now=now)
    assert all(part.seconds >= 0 and part.width > 0 for part in parts)
    assert sum(part.width for part in parts) == parts[-1].x + parts[-1].width == WIDTH
    assert [part.open for part in parts][-1] == (state in UNFINISHED)
