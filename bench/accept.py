"""How many deliveries a second the bridge stores and answers 202, compared with an endpoint that only answers.

A bare endpoint, a bridge with an empty ledger and one with a full ledger are measured in turn on the same machine, and
each round's figures are compared with the bare endpoint's of the same round. Prints a table; writes only to a temporary
folder.
"""

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.load import Load
from tests.loopback.github.limits import Limits
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer, Server, free_port

SECRET = "the-secret-of-the-bench"  # noqa: S105  it guards nothing
TOKEN = "ghp_bench"  # noqa: S105  likewise
FOREVER = Limits(requests_an_hour=10**9, content_a_minute=10**9, content_an_hour=10**9)


class BareServer(Server):
    """The endpoint that only answers."""

    title = "bare"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(
            [sys.executable, str(Path(__file__).with_name("bare.py")), str(self.port)], {}, folder, self.port
        )


@dataclass(frozen=True)
class Candidate:
    """A server, and its measurements so far, one per round."""

    title: str
    server: Server
    loads: list[Load]

    @property
    def memory(self) -> float:
        """The largest resident memory of the process so far, in MB."""
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


def fill(database: Path, count: int) -> None:
    """Copy the ledger's one delivery, with its dispatch, `count` times, as finished long ago."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("CREATE TEMP TABLE new (i INTEGER PRIMARY KEY, delivery TEXT, dispatch TEXT)")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO new SELECT i, lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || "
            "substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))), "
            "'01J' || printf('%07d', i) || hex(randomblob(8)) FROM n",
            (count,),
        )
        connection.execute("UPDATE dispatches SET state = 'succeeded', sending_since = NULL")
        _multiply(connection, "deliveries", {"id": "new.delivery", "version": "new.i"}, count)
        _multiply(connection, "dispatches", {"id": "new.dispatch", "delivery_id": "new.delivery"}, count)
        connection.commit()
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _multiply(connection: sqlite3.Connection, table: str, new_values: dict[str, str], count: int) -> None:
    """Copy the table's one row `count` times, half a minute apart, the last of them nine days ago."""
    columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
    values = [
        new_values.get(name) or (f"{name} - 777600 - 30.0 * ({count} - new.i)" if name.endswith("_at") else name)
        for name in columns
    ]
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM new, {table}")  # noqa: S608  names of our own


def settings(github: LoopbackGitHub) -> dict[str, str]:
    """Return the environment of a bridge as an operator would start it."""
    return {
        "MLFLOW_WEBHOOK_SECRET": SECRET,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": github.name,
        "GITHUB_API_URL": github.url,
    }


def put_load(server: Server, count: int, connections: int, secret: str = SECRET) -> Load:
    """Send the load from a separate process, and return its measurements."""
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "bench.load", port, secret, str(count), str(connections)]
    result = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    return Load(**json.loads(result.stdout))


def filled(env: dict[str, str], folder: Path, deliveries: int) -> BridgeServer:
    """Return a bridge, not yet started, with that many deliveries in its ledger."""
    with BridgeServer(env, folder) as first:
        put_load(first, 2, 1, env["MLFLOW_WEBHOOK_SECRET"])
    with closing(sqlite3.connect(folder / "mlflow-bridge.db")) as connection, connection:
        for table in ("dispatches", "deliveries"):
            connection.execute(f"DELETE FROM {table} WHERE rowid > (SELECT min(rowid) FROM {table})")  # noqa: S608  names of our own
    fill(folder / "mlflow-bridge.db", deliveries)
    return BridgeServer(env, folder)


def table(bare: Candidate, bridges: Sequence[Candidate]) -> str:
    """Return the figures as Markdown: medians, and the medians of each round's ratio to the bare endpoint."""
    lines = [
        "| | 202 per second | ratio | p50 ms | ratio | p99 ms | ratio | memory MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for candidate in (bare, *bridges):
        cells = [candidate.title]
        for name, digits in (("per_second", 0), ("p50", 1), ("p99", 1)):
            values = [getattr(load, name) for load in candidate.loads]
            ratios = [value / getattr(load, name) for value, load in zip(values, bare.loads, strict=True)]
            cells += [f"{median(values):.{digits}f}", f"{median(ratios):.2f}"]
        lines.append(f"| {' | '.join(cells)} | {candidate.memory:.0f} |")
    return "\n".join(lines)


def machine() -> str:
    """Describe the machine, with the time that its disk takes to make 4 KiB durable."""
    with tempfile.TemporaryFile() as file:
        started = time.perf_counter()
        for _ in range(100):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        milliseconds = (time.perf_counter() - started) * 10
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, fsync {milliseconds:.2f} ms"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.accept", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds per server (5)")
    parser.add_argument("--requests", type=int, default=4000, help="deliveries per round (4000)")
    parser.add_argument("--connections", type=int, default=20, help="concurrent connections (20)")
    parser.add_argument(
        "--ledger",
        type=int,
        default=1_000_000,
        help="deliveries in the full ledger (1000000); 0 skips this measurement",
    )
    return parser.parse_args()


def main() -> None:
    """Measure, and print the table."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-bench-")))
        github = stack.enter_context(
            LoopbackGitHub(repository="owner/models", tree=folder, token=TOKEN, folder=folder, limits=FOREVER)
        )
        env = settings(github)
        bare = Candidate("bare endpoint", stack.enter_context(BareServer(folder / "bare")), [])
        bridges = [Candidate("bridge", stack.enter_context(BridgeServer(env, folder / "empty")), [])]
        if options.ledger:
            full = stack.enter_context(filled(env, folder / "full", options.ledger))
            bridges.append(Candidate(f"bridge with {options.ledger:,} deliveries in the ledger", full, []))
        for number in range(options.rounds + 1):
            for candidate in (bare, *bridges):
                load = put_load(candidate.server, options.requests, options.connections)
                if number:  # the first round warms up
                    candidate.loads.append(load)
        conditions = f"{options.requests} deliveries over {options.connections} connections, median of {options.rounds}"
        print(f"{machine()}; {conditions}\n\n{table(bare, bridges)}\n")
        busiest = max(load.busy for candidate in (bare, *bridges) for load in candidate.loads)
        print(f"The load itself took at most {busiest:.0%} of a core.")
        print("To repeat:", *("python -m bench.accept", *sys.argv[1:]))


if __name__ == "__main__":
    main()
