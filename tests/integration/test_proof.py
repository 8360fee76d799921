"""A short proof, so that the long one, `make proof`, keeps working."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.loopback.github.faults import Fault
from tests.proof import models
from tests.proof.__main__ import GROUNDS
from tests.proof.crashes import Findings, Plan


@pytest.mark.parametrize("ground", GROUNDS)
def test_a_few_crashes_lose_nothing_and_build_nothing_twice(ground: str, tmp_path: Path) -> None:
    found = GROUNDS[ground](Plan(kills=3, settle=1.5, patience=600, followed=False), tmp_path)
    print(found)
    assert found.holds
    assert found.kills + found.freezes == 3
    assert found.accepted > 5
    assert found.faults
    assert found.tracebacks == 0


def test_mutated_models_are_read_or_refused_by_an_error_of_ours_in_bounded_memory() -> None:
    assert models.prove(seed=1, count=150)


HOLDS = Findings(
    kills=200,
    freezes=0,
    sent=10,
    accepted=9,
    lost=frozenset(),
    runs=12,
    repeated_runs=2,
    repeated_dispatches=2,
    versions=8,
    builds=8,
    unbuilt=0,
    undone=0,
    states={"succeeded": 9},
    tracebacks=0,
    faults={Fault.LOST: 1},
    seconds=1.0,
)


def test_the_proof_holds_with_repeated_runs_of_one_dispatch() -> None:
    assert HOLDS.holds


@pytest.mark.parametrize(
    "changed",
    [
        replace(HOLDS, lost=frozenset({"a"})),
        replace(HOLDS, builds=9),
        replace(HOLDS, unbuilt=1),
        replace(HOLDS, repeated_dispatches=1),
        replace(HOLDS, undone=1),
    ],
)
def test_the_proof_fails_for_what_is_lost_or_done_twice_or_left_undone(changed: Findings) -> None:
    assert not changed.holds
