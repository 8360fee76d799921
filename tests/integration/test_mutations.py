"""Some of the mutated deliveries that `make proof` sends 10,000 of."""

from pathlib import Path

from tests.postgres import Postgres
from tests.proof import mutations

LIMIT = 150 * 1024
"""KiB for the serving process."""


def test_mutated_deliveries_break_nothing_on_sqlite(tmp_path: Path) -> None:
    found = mutations.prove(600, tmp_path, f"sqlite:///{tmp_path}/ledger.db")
    print(found)
    assert found.holds
    assert found.peak < LIMIT


def test_mutated_deliveries_break_nothing_on_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    found = mutations.prove(600, tmp_path, postgres.database(), seed=2)
    print(found)
    assert found.holds
    assert found.peak < LIMIT
