"""A bridge process whose long waits are short, and a GitHub whose runs end as a test says."""

import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import httpx2

from tests.loopback.github.runs import Assignment, Conclusion, Report
from tests.loopback.servers import BridgeServer
from tests.waiting import until

ROOT = Path(__file__).parents[2]

WORKFLOW = """
run-name: ${{ github.event.client_payload.dispatch_id || fromJSON(inputs.payload).dispatch_id }} of a model
on:
  repository_dispatch:
    types: [mlflow-model-version]
  workflow_dispatch:
    inputs: {model: {}, version: {}, alias: {}, payload: {}}
concurrency: ${{ github.event.client_payload.model.name || inputs.model }}
jobs: {}
"""

_PASSWORD = "sentinel-password-of-the-page"


class QuickBridge(BridgeServer):
    """`mlflow-bridge serve` with the waits of `tests.integration.short_waits`."""

    def __init__(self, env: Mapping[str, str], folder: Path, *options: str) -> None:
        super().__init__({"PYTHONPATH": str(ROOT), "ADMIN_PASSWORD": _PASSWORD, **env}, folder)
        self._command = [sys.executable, "-m", "tests.integration.short_waits", "serve", *options]

    def degraded(self) -> list[str]:
        """Return the reasons that `/ready` shows to the administrator."""
        answer = httpx2.get(f"{self.url}/ready", auth=("admin", _PASSWORD), trust_env=False, timeout=30)
        return list(answer.json()["degraded"])

    def wait_for(self, text: str) -> None:
        """Wait until the log contains the text."""
        until(lambda: text in self.log.read_text())


class FakeRunner:
    """Ends each run as `conclusions` has it for its model, else with success; waits while `go_on` is cleared."""

    def __init__(self) -> None:
        self.conclusions: dict[str, Conclusion] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.executed: list[str] = []

    def execute(self, assignment: Assignment, report: Report, cancelled: threading.Event) -> Conclusion:
        payload = assignment.run.payload.get("client_payload") or {"model": {"name": "by hand"}}
        model = payload["model"]["name"]
        self.executed.append(model)
        while not self.go_on.wait(0.01) and not cancelled.is_set():
            pass
        return self.conclusions.get(model, "success")
