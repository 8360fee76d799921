"""What became of what was sent: runs, images, bookmarks and figures."""

from dataclasses import replace

import pytest

from bridge.core.dispatches import Pause
from bridge.core.events import Event, EventKind
from bridge.ledger import DispatchState, Ledger, OpenDispatch, RunObservation, bookmarks, lanes, queries, runs, versions
from tests.unit.ledger.rows import EVENT, ME, NOW, begin, delivery, dispatch, rows, send, state

pytestmark = pytest.mark.anyio

DAY = 86_400.0


def seen(
    state: DispatchState, at: float = NOW + 10, run_id: int | None = 7, reason: str | None = None
) -> RunObservation:
    return RunObservation(state, run_id, f"https://run/{run_id}" if run_id else None, reason, at)


async def ids(ledger: Ledger, now: float = NOW + 20) -> list[str]:
    return [one.id for one in await ledger.read(runs.open_dispatches, now=now)]


async def test_what_was_sent_is_open_with_what_it_was_for(ledger: Ledger) -> None:
    await send(ledger, 1)
    await ledger.accept(delivery(2), [dispatch(2)])
    assert await ledger.read(runs.open_dispatches, now=NOW + 1) == [
        OpenDispatch(
            id="dispatch-1",
            repository="owner/models",
            event_type="type",
            state=DispatchState.SENT,
            run_id=None,
            run_url=None,
            sent_at=NOW,
            model="模型",
            version="7",
            alias="champion",
            delivery_id="delivery-1",
            created_at=NOW,
        )
    ]


async def test_the_oldest_that_was_sent_comes_first(ledger: Ledger) -> None:
    for number, at in ((1, NOW + 2), (3, NOW), (2, NOW + 1)):
        await send(ledger, number, at)
    assert await ids(ledger) == ["dispatch-3", "dispatch-2", "dispatch-1"]


async def test_a_run_is_followed_from_its_start_to_its_end(ledger: Ledger) -> None:
    await send(ledger)
    assert await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.RUNNING, NOW + 10))
    (running,) = await ledger.read(runs.open_dispatches, now=NOW + 11)
    assert (running.state, running.run_id, running.run_url) == (DispatchState.RUNNING, 7, "https://run/7")
    assert await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.SUCCEEDED, NOW + 20))
    assert await ids(ledger) == []
    assert (state(ledger)["state"], state(ledger)["ended_at"]) == ("succeeded", NOW + 20)


@pytest.mark.parametrize("end", [DispatchState.FAILED, DispatchState.CANCELLED, DispatchState.UNSEEN])
async def test_what_did_not_succeed_is_open_for_seven_days_more(ledger: Ledger, end: DispatchState) -> None:
    await send(ledger)
    await ledger.write(runs.settle_run, "dispatch-1", seen(end, NOW, reason="why"))
    assert await ids(ledger, NOW + 7 * DAY - 1) == ["dispatch-1"]
    assert await ids(ledger, NOW + 7 * DAY) == []
    assert state(ledger)["reason"] == "why"


async def test_a_run_that_is_run_again_shows_and_ends_anew(ledger: Ledger) -> None:
    await send(ledger)
    await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.FAILED, NOW + 10, reason="a step failed"))
    assert await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.RUNNING, NOW + DAY))
    assert (state(ledger)["state"], state(ledger)["ended_at"], state(ledger)["reason"]) == ("running", None, None)
    assert await ids(ledger, NOW + 8 * DAY) == ["dispatch-1"]
    assert await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.SUCCEEDED, NOW + DAY + 9))
    assert state(ledger)["ended_at"] == NOW + DAY + 9


async def test_a_run_that_appears_after_all_is_taken(ledger: Ledger) -> None:
    await send(ledger)
    await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.UNSEEN, NOW + 600, run_id=None))
    assert await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.SUCCEEDED, NOW + 700))
    assert (state(ledger)["state"], state(ledger)["run_id"]) == ("succeeded", 7)


async def test_a_run_that_was_seen_never_becomes_unseen(ledger: Ledger) -> None:
    await send(ledger)
    await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.RUNNING))
    assert not await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.UNSEEN, NOW + 900, run_id=None))
    assert state(ledger)["state"] == "running"


async def test_an_older_observation_undoes_no_newer_one(ledger: Ledger, other: Ledger) -> None:
    await send(ledger)
    await other.write(runs.settle_run, "dispatch-1", seen(DispatchState.FAILED, NOW + 20))
    assert not await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.RUNNING, NOW + 19))
    assert state(ledger)["state"] == "failed"


async def test_the_same_observation_again_changes_nothing(ledger: Ledger) -> None:
    await send(ledger)
    assert await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.FAILED, NOW + 10))
    before = state(ledger)
    assert not await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.FAILED, NOW + 20))
    assert state(ledger) == before


@pytest.mark.parametrize(
    "over",
    [
        DispatchState.PENDING,
        DispatchState.SUCCEEDED,
        DispatchState.SUPERSEDED,
        DispatchState.REJECTED,
        DispatchState.WITHDRAWN,
    ],
)
async def test_what_never_went_out_or_is_over_stays_so(ledger: Ledger, over: DispatchState) -> None:
    await send(ledger)
    with ledger._database.writing() as connection:
        connection.exec_driver_sql(f"update dispatches set state = '{over.value}'")  # noqa: S608  ours
    for new in (DispatchState.RUNNING, DispatchState.FAILED, DispatchState.UNSEEN):
        assert not await ledger.write(runs.settle_run, "dispatch-1", seen(new))
    assert state(ledger)["state"] == over.value
    assert not await ledger.write(runs.settle_run, "nothing", seen(DispatchState.FAILED))


async def test_a_cancelled_run_is_superseded_where_a_newer_dispatch_for_the_model_was_sent(ledger: Ledger) -> None:
    await send(ledger, 1, NOW)
    await send(ledger, 2, NOW + 1, event=Event(EventKind.VERSION_CREATED, EVENT.model, "8"))
    await ledger.write(runs.settle_run, "dispatch-1", seen(DispatchState.CANCELLED, reason="somebody cancelled it"))
    assert state(ledger)["state"] == "superseded"
    assert "newer dispatch" in state(ledger)["reason"]
    assert await ids(ledger) == ["dispatch-2"]


async def test_a_cancelled_run_is_not_superseded_by_what_does_not_take_its_place(ledger: Ledger) -> None:
    await send(ledger, 1, NOW - 1)
    await send(ledger, 2, NOW)
    await send(ledger, 3, NOW + 1, event=replace(EVENT, model="another"))
    await send(ledger, 4, NOW + 1, repository="owner/others")
    await ledger.accept(delivery(5, NOW + 1), [dispatch(5)])  # not sent yet
    await ledger.write(runs.settle_run, "dispatch-2", seen(DispatchState.CANCELLED, reason="somebody cancelled it"))
    assert state(ledger, "dispatch-2")["state"] == "cancelled"
    assert state(ledger, "dispatch-2")["reason"] == "somebody cancelled it"


async def test_of_an_image_the_newest_reading_is_kept(ledger: Ledger) -> None:
    async def image() -> object:
        return rows(ledger, "select model, version, image_uri, image_status, read_at from versions")

    await ledger.write(versions.write_image, "模型", "7", None, "building", now=NOW)
    assert await image() == [("模型", "7", None, "building", NOW)]
    await ledger.write(versions.write_image, "模型", "7", "ghcr.io/o/m@sha256:1", "pushed", now=NOW + 2)
    await ledger.write(versions.write_image, "模型", "7", None, "building", now=NOW + 1)
    assert await image() == [("模型", "7", "ghcr.io/o/m@sha256:1", "pushed", NOW + 2)]


async def test_a_bookmark_is_what_was_written_last(ledger: Ledger, other: Ledger) -> None:
    assert await ledger.read(bookmarks.read_bookmark, "aliases") is None
    await ledger.write(bookmarks.write_bookmark, "aliases", "{}")
    await ledger.write(bookmarks.write_bookmark, "aliases", '{"模型": 1}')
    await ledger.write(bookmarks.write_bookmark, "versions", "2")
    assert await other.read(bookmarks.read_bookmark, "aliases") == '{"模型": 1}'


async def test_figures_count_every_state_and_name_paused_lanes(ledger: Ledger) -> None:
    empty = await ledger.read(queries.figures, now=NOW)
    assert (set(empty.dispatches), set(empty.dispatches.values())) == (set(DispatchState), {0})
    assert (empty.oldest_pending, empty.paused) == (None, {})
    await send(ledger, 1)
    await ledger.accept(delivery(2, NOW + 3), [dispatch(2)])
    await ledger.accept(delivery(3, NOW + 5), [dispatch(3)])
    begun = await begin(ledger, at=NOW + 5)
    await ledger.write(lanes.settle, begun, Pause(NOW + 99, "GitHub refuses"), ME, now=NOW + 5, lane_next_at=NOW)
    figures = await ledger.read(queries.figures, now=NOW + 10)
    assert (figures.dispatches[DispatchState.SENT], figures.dispatches[DispatchState.PENDING]) == (1, 2)
    assert figures.oldest_pending == 7
    assert figures.paused == {"github": "GitHub refuses"}


async def test_an_oldest_pending_from_before_the_clock_was_set_back_has_no_age(ledger: Ledger) -> None:
    await ledger.accept(delivery(1, NOW + 99), [dispatch()])
    assert (await ledger.read(queries.figures, now=NOW)).oldest_pending == 0
