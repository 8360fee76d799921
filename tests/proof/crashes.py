"""Bridges that are killed and frozen at random moments, and what came of the deliveries that they took."""

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import sqlalchemy as sa

from tests.integration.conftest import REPOSITORY, SECRET, TOKEN
from tests.loopback.github.faults import Fault, Faults
from tests.loopback.github.limits import Limits
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer
from tests.proof.image_runner import ImageRunner
from tests.proof.mlflow import Mlflow

SETTLE = 120.0
"""DISPATCH_SETTLE as it is by default: what all other times are scaled by."""

SHARES: Mapping[Fault, float] = {
    Fault.RESET: 0.05,
    Fault.LOST: 0.08,
    Fault.ERROR: 0.04,
    Fault.ERROR_TAKEN: 0.04,
    Fault.LIMITED: 0.02,
}
_SLOW = 4.0
"""GitHub's seconds that an answer takes at most, before and after the request is taken."""

_BURST = 1.2
"""Seconds of one burst. The kill falls into it, at a random moment."""

_RESUMED = 10.0
"""Seconds that sending may take to go on after a crash: the lane is leased to the dead for a while."""

_WORKFLOW = Path(__file__).parents[2] / ".github/workflows/on-mlflow-event.yml"


@dataclass(frozen=True)
class Plan:
    """What is to be done. `settle` is DISPATCH_SETTLE in seconds; a run is listed 0 to `late` of GitHub's seconds late.

    A delivery more or less comes with the machine's pace; all that is left to chance hangs on `seed`.
    """

    seed: int = 1
    kills: int = 200
    deliveries: int = 5
    """In each burst; there is a burst for each kill."""
    settle: float = 3.0
    late: float = SETTLE
    reads: float = 0.25
    """How much of the faults' shares meets requests that only read: a look for a run may read many pages."""
    patience: float = 600.0
    """Seconds that everything has to come to its end in, after the last kill."""
    followed: bool = True
    """Wait, too, until the ledger knows every run's end: the follower's lease outlives a crash by a minute."""

    @property
    def scale(self) -> float:
        """The length of one of GitHub's seconds."""
        return self.settle / SETTLE


@dataclass(frozen=True)
class Findings:
    """What came of it."""

    kills: int
    freezes: int
    sent: int
    accepted: int
    lost: frozenset[str]
    """Deliveries that were answered 202 and have no run."""
    runs: int
    repeated_runs: int
    """Runs beyond the first of their delivery."""
    repeated_dispatches: int
    """Runs beyond the first of their dispatch id: less than `repeated_runs` where a delivery was taken twice."""
    versions: int
    builds: int
    unbuilt: int
    """Versions of accepted deliveries that have no image."""
    undone: int
    """Dispatches that are in none of the states that they should have come to."""
    states: Mapping[str, int]
    """The ledger's dispatches by state."""
    tracebacks: int
    """In the logs of the bridges."""
    faults: Mapping[Fault, int]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, built twice, accepted twice or left undone."""
        taken_twice = self.repeated_runs - self.repeated_dispatches
        return not (self.lost or self.builds != self.versions or self.unbuilt or taken_twice or self.undone)


class Crashes:
    """Bridges on one ledger, a GitHub with bad days, an MLflow that goes on, and somebody who kills the bridges."""

    def __init__(self, plan: Plan, folder: Path, database: str, replicas: int) -> None:
        self._plan = plan
        self._folder = folder
        self._database = database
        self._chance = Random(plan.seed)  # noqa: S311  repeatable is what is wanted
        self._mlflow_chance = Random(plan.seed + 1)  # noqa: S311  likewise
        self._runner = ImageRunner()
        self._github = _github(plan, folder, self._runner)
        self._replicas = replicas
        self._did = Counter[str]()

    def run(self) -> Findings:
        """Do what the plan says, wait until everything has ended, and return the findings."""
        began = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(self._github)
            bridges = [BridgeServer(self._settings(), self._folder / f"bridge-{n}") for n in range(self._replicas)]
            for bridge in bridges:
                stack.enter_context(bridge)
            mlflow = Mlflow([bridge.url for bridge in bridges], self._mlflow_chance)
            for number in range(1, self._plan.kills + 1):
                self._round(mlflow, bridges)
                if number % 10 == 0:
                    print(f"{number} of {self._plan.kills} crashes", file=sys.stderr, flush=True)
            mlflow.finish()
            self._wait_for_the_end()
        return self._findings(mlflow, bridges, time.monotonic() - began)

    def _settings(self) -> dict[str, str]:
        return {
            "MLFLOW_WEBHOOK_SECRET": SECRET,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": self._github.url,
            "GITHUB_DISPATCH_INTERVAL": "0",
            "GITHUB_POLL_INTERVAL": "1",
            "DISPATCH_SETTLE": str(self._plan.settle),
            "DATABASE_URL": self._database,
        }

    def _round(self, mlflow: Mlflow, bridges: Sequence[BridgeServer]) -> None:
        """Strike within a burst; every other time only when GitHub is being sent to again since the last crash."""
        taken, first = len(self._github.dispatches), self._plan.deliveries // 2
        mlflow.burst(first, _BURST)
        if self._chance.random() < 0.5:
            deadline = time.monotonic() + _RESUMED
            while len(self._github.dispatches) == taken and time.monotonic() < deadline:
                time.sleep(0.01)
        mlflow.burst(self._plan.deliveries - first, _BURST)
        self._strike(bridges)

    def _strike(self, bridges: Sequence[BridgeServer]) -> None:
        """Kill a bridge and start it again; where there are others, freeze one as often."""
        bridge, freeze = self._chance.choice(bridges), self._chance.random() < 0.5
        moment, length = self._chance.uniform(0, _BURST), self._chance.uniform(0, 2 * self._plan.settle)
        time.sleep(moment)
        if freeze and len(bridges) > 1:
            os.killpg(bridge.pid, signal.SIGSTOP)
            time.sleep(length)
            os.killpg(bridge.pid, signal.SIGCONT)
        else:
            bridge.kill()
            bridge.__enter__()
        self._did["freeze" if freeze and len(bridges) > 1 else "kill"] += 1

    def _wait_for_the_end(self) -> None:
        """Wait until every dispatch has got where it should, or patience is at an end."""
        deadline = time.monotonic() + self._plan.patience
        while self._undone() and time.monotonic() < deadline:
            time.sleep(0.2)

    def _undone(self) -> int:
        done = {"succeeded"} if self._plan.followed else {"sent", "running", "succeeded"}
        return sum(number for state, number in self._states().items() if state not in done)

    def _states(self) -> dict[str, int]:
        engine = sa.create_engine(self._database.replace("postgresql://", "postgresql+psycopg://"))
        try:
            with engine.connect() as connection:
                rows = connection.execute(sa.text("select state, count(*) from dispatches group by state"))
                return {str(state): int(number) for state, number in rows}
        finally:
            engine.dispose()

    def _findings(self, mlflow: Mlflow, bridges: Sequence[BridgeServer], seconds: float) -> Findings:
        payloads = [run.payload["client_payload"] for run in self._github.runs]
        deliveries = {str(payload["delivery_id"]) for payload in payloads}
        accepted = [mlflow.sent[delivery] for delivery in mlflow.accepted]
        expected = {(event.model, event.version) for event in accepted}
        return Findings(
            kills=self._did["kill"],
            freezes=self._did["freeze"],
            sent=len(mlflow.sent),
            accepted=len(mlflow.accepted),
            lost=frozenset(mlflow.accepted - deliveries),
            runs=len(payloads),
            repeated_runs=len(payloads) - len(deliveries),
            repeated_dispatches=len(payloads) - len({payload["dispatch_id"] for payload in payloads}),
            versions=len(self._runner.images),
            builds=self._runner.builds.total(),
            unbuilt=len(expected - self._runner.images),
            undone=self._undone(),
            states=self._states(),
            tracebacks=sum(_tracebacks(bridge.log) for bridge in bridges),
            faults=self._github.faults_met,
            seconds=seconds,
        )


def _github(plan: Plan, folder: Path, runner: ImageRunner) -> LoopbackGitHub:
    tree = folder / "tree"
    (tree / ".github/workflows").mkdir(parents=True)
    shutil.copy(_WORKFLOW, tree / ".github/workflows")
    return LoopbackGitHub(
        repository=REPOSITORY,
        tree=tree,
        token=TOKEN,
        folder=folder / "github",
        runner=runner,
        limits=Limits(requests_an_hour=10**6, content_a_minute=10**6, content_an_hour=10**6),
        faults=Faults(seed=plan.seed, shares=SHARES, reads=plan.reads, late=plan.late, slow=_SLOW, scale=plan.scale),
    )


def _tracebacks(log: Path) -> int:
    return log.read_text(errors="replace").count("Traceback (most recent call last)")


ROWS: Sequence[tuple[str, Callable[[Findings], object]]] = (
    ("kill -9", lambda findings: findings.kills),
    ("frozen and resumed", lambda findings: findings.freezes),
    ("deliveries sent", lambda findings: findings.sent),
    ("answered with 202", lambda findings: findings.accepted),
    ("accepted deliveries without a run", lambda findings: len(findings.lost)),
    ("runs", lambda findings: findings.runs),
    ("repeated runs of a delivery", lambda findings: findings.repeated_runs),
    ("repeated runs with another dispatch id", lambda findings: findings.repeated_runs - findings.repeated_dispatches),
    ("versions with an image", lambda findings: findings.versions),
    ("repeated builds of a version", lambda findings: findings.builds - findings.versions),
    ("versions without an image", lambda findings: findings.unbuilt),
    ("dispatches that did not succeed", lambda findings: findings.undone),
    ("dispatches by state", lambda findings: json.dumps(dict(findings.states))),
    ("tracebacks in the logs", lambda findings: findings.tracebacks),
    ("failures of GitHub", lambda findings: sum(findings.faults.values())),
    *((f"- {fault}", lambda findings, fault=fault: findings.faults.get(fault, 0)) for fault in Fault),
    ("seconds", lambda findings: round(findings.seconds)),
)
"""The lines of the table."""
