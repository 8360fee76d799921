"""The benchmarks, as small as they can be, so that `make bench` keeps working."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "options", "rows"),
    [
        (
            "bench.accept",
            ("--rounds", "1", "--requests", "100", "--ledger", "200"),
            ("bare endpoint", "bridge with 200 deliveries in the ledger"),
        ),
        (
            "bench.pages",
            ("--rounds", "2", "--ledger", "1500", "--models", "20"),
            ("/ of an empty ledger", "/version"),
        ),
    ],
)
def test_a_benchmark_prints_its_table_and_its_command(
    module: str, options: tuple[str, ...], rows: tuple[str, ...]
) -> None:
    done = run(module, *options)
    assert done.returncode == 0, done.stderr
    assert all(f"| {row} |" in done.stdout for row in rows)
    assert f"To repeat: python -m {module} {' '.join(options)}" in done.stdout


def test_images_are_removed_only_with_prune() -> None:
    done = run("bench.images")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--prune" in done.stderr
