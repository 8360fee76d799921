"""The bench, as small as it can be: so that `make bench` keeps working, and measures what it says."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.accept import BareServer, Contestant, filled, promises
from bench.images import Measured, Round, Start, aims, verdicts
from bench.load import Load, NotTaken, load, signed
from tests.integration.conftest import SECRET
from tests.integration.deliveries import rows
from tests.loopback.servers import BridgeServer

ROOT = Path(__file__).parents[2]
LOAD = Load(per_second=1000, p50=10, p99=20, busy=0.1)


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_the_bench_prints_its_table_and_the_command() -> None:
    small = ["--rounds", "1", "--requests", "100", "--ledger", "200"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.accept", *small],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "| bare endpoint |" in done.stdout
    assert "| bridge, 200 deliveries in the ledger |" in done.stdout
    assert "To repeat: python -m bench.accept --rounds 1 --requests 100 --ledger 200" in done.stdout


def test_every_request_of_the_load_is_a_delivery_of_its_own_that_the_bridge_writes_down(bridge: BridgeServer) -> None:
    measured = asyncio.run(load(port(bridge.url), signed(SECRET, 50), 5))
    assert rows(bridge.folder, "select count(*) from deliveries") == [(50,)]
    assert 0 < measured.p50 <= measured.p99


def test_a_load_that_is_refused_measures_nothing(bridge: BridgeServer) -> None:
    with pytest.raises(NotTaken, match="401"):
        asyncio.run(load(port(bridge.url), signed("another secret", 2), 1))


def test_a_full_ledger_holds_deliveries_that_ended_and_takes_new_ones(settings: dict[str, str], folder: Path) -> None:
    with filled(settings, folder, 500) as bridge:
        asyncio.run(load(port(bridge.url), signed(SECRET, 3), 1))
        assert rows(folder, "select count(distinct id) from deliveries") == [(504,)]
        joined = "from dispatches join deliveries on deliveries.id = delivery_id"
        assert rows(folder, f"select count(distinct dispatches.id) {joined}") == [(504,)]
        assert rows(folder, "select count(*) from dispatches where state = 'succeeded'") == [(501,)]


@pytest.mark.parametrize(
    ("bridge_load", "full_load", "broken"),
    [
        (LOAD, LOAD, ""),
        (replace(LOAD, per_second=499), replace(LOAD, per_second=499), "0.5 of the bare"),
        (replace(LOAD, p99=61), LOAD, "p99"),
        (LOAD, replace(LOAD, per_second=800), "full ledger"),
    ],
)
def test_a_promise_is_broken_by_its_own_figure(tmp_path: Path, bridge_load: Load, full_load: Load, broken: str) -> None:
    with BareServer(tmp_path) as server:
        bare, *bridges = (Contestant("x", server, [each]) for each in (LOAD, bridge_load, full_load))
        said = promises(bare, bridges)
    assert [promise for promise, kept in said.items() if not kept] == [one for one in said if broken and broken in one]


SLOW = Measured(build=60, push=30, pushed=300_000_000, size=1000)
FAST = Measured(build=1, push=1, local=1, pushed=1_000_000, size=700)


@pytest.mark.parametrize(
    ("first", "following", "answer", "alias", "missed"),
    [
        (FAST, FAST, 3.0, 0.1, []),
        (replace(FAST, build=21), FAST, 3.0, 0.1, ["first version: times faster, in the engine besides"]),
        (replace(FAST, size=751), FAST, 3.0, 0.1, ["image: share that is saved"]),
        (FAST, replace(FAST, local=6), 3.0, 0.1, ["next version: times faster, in the engine besides"]),
        (FAST, replace(FAST, pushed=4_000_000), 3.0, 0.1, ["next version: times fewer bytes pushed"]),
        (FAST, FAST, 3.0, 3.1, ["alias: seconds less than 3"]),
        (FAST, FAST, 3.1, 0.1, ["start to first answer: times faster"]),
    ],
)
def test_an_images_aim_is_missed_by_its_own_figure(
    first: Measured, following: Measured, answer: float, alias: float, missed: list[str]
) -> None:
    images = {"mlflow first": SLOW, "mlflow next": SLOW, "layered first": first, "layered next": following}
    found = aims([Round(images, [Start(3, answer)], alias, wheels=1)])
    assert [aim.title for aim in found if not aim.kept] == missed
    lines = verdicts(found).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines if "MISSED" in line] == missed


def test_images_are_removed_only_where_that_was_said() -> None:
    done = subprocess.run([sys.executable, "-m", "bench.images"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "give it --prune" in done.stderr
