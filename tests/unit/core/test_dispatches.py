from dataclasses import replace

import pytest

from bridge.core.dispatches import (
    CONCLUSIONS,
    UNSEEN_AFTER,
    DispatchState,
    OpenDispatch,
    Run,
    RunObservation,
    by_dispatch,
    decide,
    meaning,
)

NOW = 1_700_000_000.0
ID = "01J0000000000000000000000A"
DELIVERY = "8f08b1de-4c1b-4f2e-9c1a-0123456789ab"
SENT = OpenDispatch(
    ID, "owner/models", "mlflow-model-version", DispatchState.SENT, None, None, NOW, "iris", "7", None, NOW, DELIVERY
)


def run(number: int = 1, status: str = "completed", conclusion: str | None = "success", title: str = ID) -> Run:
    return Run(id=number, html_url=f"https://run/{number}", display_title=title, status=status, conclusion=conclusion)


@pytest.mark.parametrize("status", ["queued", "pending", "waiting", "requested", "in_progress", "brand_new"])
def test_a_run_that_is_not_completed_is_running(status: str) -> None:
    assert meaning(run(status=status, conclusion=None)) == (DispatchState.RUNNING, None)


def test_a_completed_run_without_a_conclusion_is_running() -> None:
    assert meaning(run(conclusion=None)) == (DispatchState.RUNNING, None)


@pytest.mark.parametrize(
    ("conclusion", "state"),
    [
        ("success", DispatchState.SUCCEEDED),
        ("neutral", DispatchState.SUCCEEDED),
        ("failure", DispatchState.FAILED),
        ("timed_out", DispatchState.FAILED),
        ("startup_failure", DispatchState.FAILED),
        ("action_required", DispatchState.FAILED),
        ("stale", DispatchState.FAILED),
        ("cancelled", DispatchState.CANCELLED),
        ("skipped", DispatchState.CANCELLED),
    ],
)
def test_every_conclusion_has_its_state_and_all_but_success_a_reason(conclusion: str, state: DispatchState) -> None:
    actual, reason = meaning(run(conclusion=conclusion))
    assert actual == state
    assert (reason is None) == (state is DispatchState.SUCCEEDED)


def test_an_unknown_conclusion_is_a_failure_that_names_it() -> None:
    state, reason = meaning(run(conclusion="exploded"))
    assert state == DispatchState.FAILED
    assert "exploded" in str(reason)


def test_a_new_run_is_running_with_its_address() -> None:
    seen = decide(SENT, run(status="queued", conclusion=None), at=NOW)
    assert seen == RunObservation(DispatchState.RUNNING, 1, "https://run/1", None, NOW)


def test_a_run_may_have_ended_at_the_first_request() -> None:
    assert decide(SENT, run(), at=NOW) == RunObservation(DispatchState.SUCCEEDED, 1, "https://run/1", None, NOW)


def test_an_unchanged_run_changes_nothing() -> None:
    running = replace(SENT, state=DispatchState.RUNNING, run_id=1)
    assert decide(running, run(status="in_progress", conclusion=None), at=NOW) is None
    assert decide(replace(running, state=DispatchState.FAILED), run(conclusion="failure"), at=NOW) is None


@pytest.mark.parametrize("state", [DispatchState.FAILED, DispatchState.CANCELLED, DispatchState.UNSEEN])
def test_a_run_that_is_re_run_changes_the_state(state: DispatchState) -> None:
    ended = replace(SENT, state=state, run_id=None if state is DispatchState.UNSEEN else 1)
    assert decide(ended, run(status="queued", conclusion=None), at=NOW) == RunObservation(
        DispatchState.RUNNING, 1, "https://run/1", None, NOW
    )
    assert decide(ended, run(), at=NOW) == RunObservation(DispatchState.SUCCEEDED, 1, "https://run/1", None, NOW)


def test_a_dispatch_without_a_run_is_unseen_after_ten_minutes_with_hints() -> None:
    assert decide(SENT, None, at=NOW + UNSEEN_AFTER - 1) is None
    seen = decide(SENT, None, at=NOW + UNSEEN_AFTER)
    assert seen is not None
    assert (seen.state, seen.run_id) == (DispatchState.UNSEEN, None)
    for word in ("owner/models", "default branch", "'mlflow-model-version'", "Actions", "actions=read", "run-name"):
        assert word in str(seen.reason)
    assert "\n" not in str(seen.reason)


@pytest.mark.parametrize("state", [DispatchState.FAILED, DispatchState.CANCELLED, DispatchState.UNSEEN])
def test_a_deleted_run_does_not_change_an_ended_dispatch(state: DispatchState) -> None:
    assert decide(replace(SENT, state=state, run_id=1), None, at=NOW + 7 * UNSEEN_AFTER) is None
    assert decide(replace(SENT, state=state), None, at=NOW + 7 * UNSEEN_AFTER) is None


@pytest.mark.parametrize("state", [DispatchState.SENT, DispatchState.RUNNING])
def test_a_running_run_that_was_deleted_is_cancelled_after_ten_minutes(
    state: DispatchState,
) -> None:
    known = replace(SENT, state=state, run_id=1, run_url="https://run/1")
    assert decide(known, None, at=NOW + UNSEEN_AFTER - 1) is None
    seen = decide(known, None, at=NOW + UNSEEN_AFTER)
    assert seen is not None
    assert (seen.state, seen.run_id, seen.run_url) == (DispatchState.CANCELLED, 1, "https://run/1")
    assert "deleted" in str(seen.reason)


def test_the_newest_run_whose_title_begins_with_the_id_counts() -> None:
    other = replace(SENT, id="01J0000000000000000000000B")
    titles = [f"{ID} iris 7", f"about {ID}", "", ID[:-1], f"{ID} iris 7", "push"]
    newest_first = [run(number, title=title) for number, title in reversed(list(enumerate(titles)))]
    by_id = by_dispatch(newest_first, [SENT, other])
    assert {dispatch: newest.id for dispatch, newest in by_id.items()} == {ID: 4}


def test_every_conclusion_of_githubs_description_is_mapped() -> None:
    described = {"action_required", "cancelled", "failure", "neutral", "success", "skipped", "stale", "timed_out"}
    assert described | {"startup_failure"} == set(CONCLUSIONS)
