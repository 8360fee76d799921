import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tests.loopback.github.faults import ConnectionCut, Fault, Faults, FaultyApp
from tests.loopback.github.runs import Run
from tests.loopback.github.server import LoopbackGitHub

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVERY = {fault: 1 / len(Fault) for fault in Fault}


class Taking:
    """An app that answers 204 and counts what it took."""

    def __init__(self) -> None:
        self.taken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.taken += 1
        await Response(status_code=204)(scope, receive, send)


def ask(app: FaultyApp, path: str = "/repos/octo/models/dispatches", method: str = "POST") -> httpx2.Response | None:
    """Give the answer; None where the connection was cut."""

    async def send() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as client:
            return await client.request(method, path, content=b"{}")

    try:
        return asyncio.run(send())
    except ConnectionCut:
        return None


def faulty(faults: Faults) -> tuple[FaultyApp, Taking]:
    taking = Taking()
    return FaultyApp(taking, faults, lambda: NOON), taking


def statuses(faults: Faults, rounds: int) -> list[int | None]:
    app, _ = faulty(faults)
    answers = [ask(app) for _ in range(rounds)]
    return [answer.status_code if answer else None for answer in answers]


@pytest.mark.parametrize(
    ("fault", "answered", "taken"),
    [
        (Fault.RESET, {None}, 0),
        (Fault.LOST, {None}, 1),
        (Fault.ERROR, {500, 502, 503}, 0),
        (Fault.ERROR_TAKEN, {500, 502, 503}, 1),
        (Fault.LIMITED, {403, 429}, 0),
    ],
)
def test_each_fault_answers_as_it_says_and_takes_the_request_or_not(
    fault: Fault, answered: set[int | None], taken: int
) -> None:
    app, taking = faulty(Faults(shares={fault: 1}))
    answers = [ask(app) for _ in range(20)]
    assert {answer.status_code if answer else None for answer in answers} == answered
    assert taking.taken == taken * 20
    assert app.met == {fault: 20}


def test_without_faults_every_request_gets_through() -> None:
    app, taking = faulty(Faults())
    assert [ask(app) for _ in range(5)].count(None) == 0
    assert (taking.taken, app.met) == (5, Counter())


def test_the_same_seed_gives_the_same_day_and_another_one_another() -> None:
    assert statuses(Faults(1, EVERY), 50) == statuses(Faults(1, EVERY), 50)
    assert statuses(Faults(1, EVERY), 50) != statuses(Faults(2, EVERY), 50)


def test_faults_come_as_often_as_their_shares_say() -> None:
    app, taking = faulty(Faults(shares={Fault.ERROR: 0.25, Fault.LOST: 0.25}))
    for _ in range(400):
        ask(app)
    assert set(app.met) == {Fault.ERROR, Fault.LOST}
    assert all(70 < met < 130 for met in app.met.values())
    assert taking.taken == 400 - app.met[Fault.ERROR]


def test_requests_that_only_read_meet_as_few_faults_as_they_are_told_to() -> None:
    app, _ = faulty(Faults(shares={Fault.ERROR: 1}, reads=0.25))
    for _ in range(200):
        ask(app, method="GET")
    met = app.met[Fault.ERROR]
    assert 25 < met < 75
    for _ in range(20):
        ask(app)
    assert app.met[Fault.ERROR] == met + 20


def test_a_rate_limit_says_how_long_in_one_of_its_three_forms() -> None:
    app, _ = faulty(Faults(shares={Fault.LIMITED: 1}, scale=0.1))
    answers = [answer for answer in (ask(app) for _ in range(20)) if answer]
    forms = {(answer.status_code, "retry-after" in answer.headers) for answer in answers}
    assert forms == {(403, True), (429, True), (403, False)}
    assert {answer.headers.get("retry-after", "6") for answer in answers} == {"6"}
    resets = {answer.headers.get("x-ratelimit-reset") for answer in answers} - {None}
    assert resets == {str(int(NOON.timestamp()) + 6)}


def test_a_request_that_did_not_arrive_whole_is_not_taken() -> None:
    app, taking = faulty(Faults())
    part: Message = {"type": "http.request", "body": b"{", "more_body": True}
    messages = iter([part, {"type": "http.disconnect"}])

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    asyncio.run(app({"type": "http", "method": "POST", "path": "/repos/octo/models/dispatches"}, receive, send))
    assert taking.taken == 0


def test_pages_for_people_meet_no_faults() -> None:
    app, taking = faulty(Faults(shares={Fault.RESET: 1}))
    assert ask(app, "/octo/models/actions/runs/1") is not None
    assert taking.taken == 1


def run(number: int) -> Run:
    return Run(number, number, "w.yml", "w", "t", "repository_dispatch", {}, "", "octo", Path(), NOON, NOON)


def test_a_run_is_listed_between_at_once_and_late_seconds_after_it_was_made() -> None:
    faults, runs = Faults(seed=3, late=60, scale=0.5), [run(number) for number in range(200)]

    def listed(seconds: float) -> int:
        return sum(faults.lists(each, lambda: NOON + timedelta(seconds=seconds)) for each in runs)

    assert listed(0) < 5
    assert 70 < listed(15) < 130
    assert listed(30) == 200
    assert all(Faults().lists(each, lambda: NOON) for each in runs)


def test_the_list_of_runs_changes_with_its_etag_once_a_late_run_is_shown(tmp_path: Path) -> None:
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/any.yml").write_text("on: repository_dispatch")
    now = [NOON]
    github = LoopbackGitHub(
        repository="octo/models",
        tree=tmp_path,
        token="t",
        folder=tmp_path,
        faults=Faults(late=60),
        clock=lambda: now[0],
    )

    async def listed(**headers: str) -> httpx2.Response:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(github.app),
            base_url="http://testserver",
            headers={"Authorization": "token t"},
        ) as client:
            return await client.get("/repos/octo/models/actions/runs", headers=headers)

    github.repository_dispatch({"event_type": "x", "client_payload": {}})
    before = asyncio.run(listed())
    assert (before.json()["total_count"], len(github.runs)) == (0, 1)
    now[0] += timedelta(seconds=60)
    after = asyncio.run(listed(**{"If-None-Match": before.headers["etag"]}))
    assert (after.status_code, after.json()["total_count"]) == (200, 1)
