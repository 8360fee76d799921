"""How long the status page takes with a full ledger, compared with that of a bridge whose ledger is empty.

The pages are requested in turn on the same machine, and each page's median is compared with the empty page's. Prints a
table; writes only to a temporary folder.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from importlib import import_module
from pathlib import Path
from statistics import median

import httpx2

from bench.accept import FOREVER, TOKEN, filled, machine, settings
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer

PASSWORD = "the-password-of-the-bench"  # noqa: S105  it guards nothing
EMPTY = "/ of an empty ledger"


def spread(database: Path, models: int) -> float:
    """Spread the deliveries over the models, one in a thousand failed; return the seconds that listing them took."""
    fill = import_module("bridge.ledger.migrations.versions.0003_browsing").FILL
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("UPDATE deliveries SET model = 'team/model-' || (rowid % ?)", (models,))
        connection.execute("UPDATE dispatches SET state = 'failed' WHERE rowid % 1000 = 7")
        connection.execute("DELETE FROM versions")
        connection.execute("DELETE FROM models")
        started = time.perf_counter()
        connection.execute(fill)
        connection.execute("INSERT INTO models SELECT DISTINCT model, model FROM versions")
        return time.perf_counter() - started


def addresses(database: Path) -> dict[str, str]:
    """Return the paths of pages that people open; the oldest rows and the rarest names are among them."""
    with closing(sqlite3.connect(database)) as connection:
        ((middle,),) = connection.execute("SELECT id FROM dispatches ORDER BY id LIMIT 1 OFFSET 1000")
        ((model, version),) = connection.execute("SELECT model, version FROM versions ORDER BY latest_id LIMIT 1")
    return {
        "/ newest": "/",
        "/ near the end": f"/?before={middle}",
        "/ one state": "/?state=failed",
        "/ a state without versions": "/?state=rejected",
        "/ a frequent name": "/?search=MODEL",
        "/ a rare name": "/?search=model-4321",
        "/ an unknown name": "/?search=nothing",
        "/ a name and a state": "/?search=model-1&state=failed",
        "/version": f"/version?model={model}&version={version}",
        "/api/deliveries": "/api/deliveries",
    }


def measure(empty: httpx2.Client, full: httpx2.Client, paths: Mapping[str, str], rounds: int) -> dict[str, float]:
    """Return each page's median in milliseconds, the empty one's first."""
    seconds: dict[str, list[float]] = {name: [] for name in (EMPTY, *paths)}
    for number in range(rounds + 1):
        for name in seconds:
            client, path = (empty, "/") if name == EMPTY else (full, paths[name])
            started = time.perf_counter()
            client.get(path).raise_for_status()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: median(times) * 1000 for name, times in seconds.items()}


def table(medians: Mapping[str, float]) -> str:
    """Return the figures as Markdown."""
    lines = ["| page | ms | ratio |", "| --- | ---: | ---: |"]
    return "\n".join(lines + [f"| {name} | {ms:.1f} | {ms / medians[EMPTY]:.2f} |" for name, ms in medians.items()])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="requests of each page (50)")
    parser.add_argument("--ledger", type=int, default=1_000_000, help="deliveries in the full ledger (1000000)")
    parser.add_argument("--models", type=int, default=5_000, help="models in the full ledger (5000)")
    return parser.parse_args()


def _client(server: BridgeServer) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, auth=("admin", PASSWORD), trust_env=False, timeout=60)


def main() -> None:
    """Measure, and print the table."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-bench-")))
        github = stack.enter_context(
            LoopbackGitHub(repository="owner/models", tree=folder, token=TOKEN, folder=folder, limits=FOREVER)
        )
        env = settings(github) | {"ADMIN_PASSWORD": PASSWORD}
        bridge = filled(env, folder / "full", options.ledger)
        database = folder / "full" / "mlflow-bridge.db"
        listing = spread(database, options.models)
        paths = addresses(database)
        empty = stack.enter_context(_client(stack.enter_context(BridgeServer(env, folder / "empty"))))
        full = stack.enter_context(_client(stack.enter_context(bridge)))
        medians = measure(empty, full, paths, options.rounds)
        memory = int(Path(f"/proc/{bridge.pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    print(f"{machine()}; {options.ledger:,} deliveries of {options.models:,} models, median of {options.rounds}\n")
    print(f"{table(medians)}\n")
    print(f"Memory: {memory:.0f} MB. Listing the versions of an older ledger took {listing:.0f} s.")
    print("To repeat:", *("python -m bench.pages", *sys.argv[1:]))


if __name__ == "__main__":
    main()
