"""Prints tables; ends with status 1 where a proof fails."""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.postgres import Postgres
from tests.proof import models, mutations, parity
from tests.proof.crashes import ROWS, Crashes, Findings, Plan


def on_sqlite(plan: Plan, folder: Path) -> Findings:
    """Prove it for one bridge."""
    return Crashes(plan, folder, f"sqlite:///{folder}/ledger.db", replicas=1).run()


def on_postgresql(plan: Plan, folder: Path) -> Findings:
    """Prove it for three replicas on one ledger."""
    with Postgres() as server:
        return Crashes(plan, folder, server.database(), replicas=3).run()


GROUNDS = {"SQLite, one bridge": on_sqlite, "PostgreSQL, three replicas": on_postgresql}


def main() -> None:
    """Read the plan, carry it out, and print the findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--seed", type=int, default=Plan.seed, help="seed of the random choices")
    parser.add_argument("--kills", type=int, default=Plan.kills, help="number of kills and freezes")
    parser.add_argument(
        "--deliveries", type=int, default=Plan.deliveries, help="deliveries in the burst around each kill"
    )
    parser.add_argument("--settle", type=float, default=Plan.settle, help="DISPATCH_SETTLE, in seconds")
    parser.add_argument(
        "--late",
        type=float,
        default=Plan.late,
        help="maximum delay of the list of runs, in seconds, for a settle of 120",
    )
    parser.add_argument(
        "--reads",
        type=float,
        default=Plan.reads,
        help="failure rate of read requests, as a share of that of write requests",
    )
    parser.add_argument("--mutations", type=int, default=10_000, help="number of mutated deliveries on each database")
    parser.add_argument(
        "--only", choices=["SQLite", "PostgreSQL", "images", "models", "mutations"], help="run only this part"
    )
    parser.add_argument("--keep", type=Path, help="new folder in which the ledger and logs are kept")
    options = vars(parser.parse_args())
    only, keep, mutated = options.pop("only") or "", options.pop("keep"), options.pop("mutations")
    plan = Plan(**options)
    grounds = {title: prove for title, prove in GROUNDS.items() if title.startswith(only)}
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-proof-")))
        results: dict[str, Findings] = {}
        for number, (title, prove) in enumerate(grounds.items()):
            (folder / str(number)).mkdir(parents=True)
            results[title] = prove(plan, folder / str(number))
            show(title, results[title])
        unbroken = mutate(mutated, folder / "mutations") if only in ("", "mutations") else True
    print(f"\n{plan}\nTo repeat: python -m tests.proof", *sys.argv[1:])
    same = parity.prove(parity.MODELS) if only in ("", "images") else True
    read = models.prove(plan.seed, 1_000) if only in ("", "models") else True
    sys.exit(not (same and read and unbroken and all(result.holds for result in results.values())))


def mutate(count: int, folder: Path) -> bool:
    """Send mutated deliveries to a bridge on each database, and return whether none broke anything."""
    with Postgres() as server:
        databases = {"SQLite": f"sqlite:///{folder}/ledger.db", "PostgreSQL": server.database()}
        results = {name: mutations.prove(count, folder / name, url) for name, url in databases.items()}
    for name, result in results.items():
        print(f"\n{count} mutated deliveries, {name}: {'passed' if result.holds else 'FAILED'}, {result}", flush=True)
    return all(result.holds for result in results.values())


def show(title: str, findings: Findings) -> None:
    """Print one ground's figures as Markdown."""
    print(f"\n| {title} | |\n| --- | ---: |")
    for name, figure in ROWS:
        print(f"| {name} | {figure(findings)} |")
    print(f"| **{'passed' if findings.holds else 'FAILED'}** | |", flush=True)


if __name__ == "__main__":
    main()
