"""A loopback GitHub: the REST API and the Actions of one repository on this machine, for the demo and the tests.

It behaves as GitHub documents it where the bridge relies on that: limits, error bodies, which workflows an event
starts, the titles of runs, concurrency groups. It has one repository, one branch (`main`) and one token.
"""

import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp

from bridge.github.expressions import InvalidExpression
from bridge.github.workflow_file import Workflow, read_workflows
from tests.loopback.github import bodies
from tests.loopback.github.api import create_app
from tests.loopback.github.apps import App, add_endpoints
from tests.loopback.github.contents import Contents
from tests.loopback.github.faults import NO_FAULTS, CuttableProtocol, Fault, Faults, FaultyApp
from tests.loopback.github.gate import Credential, Gate
from tests.loopback.github.limits import Limits, Meter
from tests.loopback.github.runs import PATIENCE, Assignment, Clock, Conclusion, Report, Run, Runner, RunQueue
from tests.loopback.github.views import Views
from tests.loopback.runner.checkout import head_sha

PERMISSIONS = {"metadata": "read", "contents": "write", "actions": "write"}


@dataclass(frozen=True)
class Dispatch:
    """An accepted `repository_dispatch`."""

    event_type: str
    client_payload: Mapping[str, Any]
    received_at: datetime


def _now() -> datetime:
    return datetime.now(UTC)


class LoopbackGitHub:
    """Serves one repository at `url` while it is used as a context manager; `app` alone needs no network.

    `tree`: the checkout with the workflows, read again for each event. `folder`: for the files of the runs. `runner`:
    executes the runs, one at a time; without one they stay queued. `permissions`: the token's, by GitHub's names; with
    none, the repository is invisible. `variables` and `secrets`: the repository's. `expires`: when the token expires.
    `installed`: an App that is installed, with the token's permissions. `actions_enabled`: if not, events start no run.
    `visible`: other repositories that the token sees, and whether each of them is private. `enterprise`: the version of
    GitHub Enterprise Server that each answer names, if this is one.
    `faults`: how often requests fail. `clock`: returns the time with its zone. `listen`: address and port, 0 for a free
    port.
    """

    def __init__(
        self,
        *,
        repository: str,
        tree: Path,
        token: str,
        folder: Path,
        runner: Runner | None = None,
        permissions: Mapping[str, str] = PERMISSIONS,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        expires: datetime | None = None,
        installed: App | None = None,
        actions_enabled: bool = True,
        visible: Mapping[str, bool] = MappingProxyType({}),
        enterprise: str = "",
        faults: Faults = NO_FAULTS,
        clock: Clock = _now,
        listen: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.name = repository
        self.actions_enabled = actions_enabled
        self.visible = visible
        self.contents = Contents(tree)
        self._tree = tree
        self._folder = folder
        self._runner = runner
        self._variables = dict(variables or {})
        self._secrets = dict(secrets or {})
        self._clock = clock
        self._faults = faults
        self._queue = RunQueue(clock)
        self._dispatches: list[Dispatch] = []
        self._creating = threading.Lock()
        self._listen = listen
        self._url = ""
        credential, meter = Credential(token, permissions, expires), Meter(limits or Limits())
        api = create_app(self, Gate(credential, meter, clock, installed, enterprise))
        if installed:
            add_endpoints(api, installed, repository, clock)
        self._faulty = FaultyApp(api, faults, clock)
        self.app: ASGIApp = self._faulty

    @property
    def url(self) -> str:
        """The address for GITHUB_API_URL."""
        return self._url

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs as they are now, newest first."""
        return self._queue.runs

    @property
    def listed(self) -> tuple[Run, ...]:
        """The runs that the list of runs shows by now, newest first."""
        return tuple(run for run in self.runs if self._faults.lists(run, self._clock))

    @property
    def faults_met(self) -> Mapping[Fault, int]:
        """How many requests have failed by each fault so far."""
        return dict(self._faulty.met)

    @property
    def dispatches(self) -> tuple[Dispatch, ...]:
        """The accepted repository dispatches, oldest first."""
        return tuple(self._dispatches)

    @property
    def workflows(self) -> list[Workflow]:
        """The workflows of the checkout as they are now."""
        return read_workflows(self._tree)

    def page(self, run: Run) -> str:
        """Return the address of a run's page, which shows steps, summary and logs as text."""
        return Views(self._url, self.name).page(run.id)

    def wait(self, run: Run | int, timeout: float = PATIENCE) -> Run:
        """Return the run once it is completed; raises `RunNotCompleted` after `timeout` seconds."""
        run_id = run if isinstance(run, int) else run.id

        def completed(runs: tuple[Run, ...]) -> Run | None:
            return next((run for run in runs if run.id == run_id and run.status == "completed"), None)

        return self._queue.wait_for(completed, timeout)

    def wait_for_runs(self, count: int, timeout: float = PATIENCE) -> tuple[Run, ...]:
        """Return all runs, newest first, once there are `count` in any state; raises `RunNotCompleted`."""
        return self._queue.wait_for(lambda runs: runs if len(runs) >= count else None, timeout)

    def rerun(self, run: Run) -> None:
        """Run a completed run again, as on its page; its number of attempts stays 1."""
        self._queue.again(run.id)

    def repository_dispatch(self, body: dict[str, Any]) -> None:
        """Start a run of each workflow that listens to the event type; raises `ApiError` for a wrong body."""
        event_type, payload = bodies.repository_dispatch(body)
        self._dispatches.append(Dispatch(event_type, payload, self._clock()))
        event = {"action": event_type, "branch": "main", "client_payload": payload, **self._sender()}
        for workflow in self.workflows:
            if self.actions_enabled and workflow.listens_to(event_type):
                self._start(workflow, "repository_dispatch", event, event_type)

    def workflow_dispatch(self, workflow: Workflow, body: dict[str, Any]) -> Run:
        """Start a run of this workflow; raises `ApiError` if it has no such trigger, or ref or inputs are wrong."""
        if not self.actions_enabled:
            raise bodies.disabled()
        if workflow.inputs is None:
            raise bodies.no_trigger()
        inputs = bodies.workflow_dispatch(body, workflow.inputs, "main")
        event = {"inputs": inputs, "ref": "refs/heads/main", "workflow": workflow.path, **self._sender()}
        return self._start(workflow, "workflow_dispatch", event, workflow.name)

    def _sender(self) -> dict[str, Any]:
        repository = Views(self._url, self.name).about()
        return {"repository": repository, "sender": repository["owner"]}

    def _start(self, workflow: Workflow, event: str, payload: Mapping[str, Any], default_title: str) -> Run:
        """Queue a run. If its run-name or group can't be evaluated, it fails at once, as on GitHub."""
        with self._creating:
            run = self._new_run(workflow, event, payload, default_title)
            context = self._context(run, workflow)
            try:
                concurrency = workflow.concurrency(context)
                run = replace(run, title=workflow.title(context) or default_title)
            except InvalidExpression:
                run = replace(run, title=workflow.path, status="completed", conclusion="startup_failure")
                concurrency = None
            run = replace(run, group=concurrency.group if concurrency else None)
            self._queue.add(run, concurrency is not None and concurrency.cancel_in_progress)
        return run

    def _new_run(self, workflow: Workflow, event: str, payload: Mapping[str, Any], title: str) -> Run:
        run_id, now = self._queue.new_id(), self._clock()
        return Run(
            id=run_id,
            number=1 + sum(run.workflow == workflow.path for run in self.runs),
            workflow=workflow.path,
            name=workflow.name,
            title=title,
            event=event,
            payload=payload,
            head_sha=head_sha(self._tree),
            actor=self.name.partition("/")[0],
            folder=self._folder / "runs" / str(run_id),
            created_at=now,
            updated_at=now,
        )

    def _context(self, run: Run, workflow: Workflow) -> dict[str, Any]:
        """Return the contexts that `run-name` and `concurrency` may use: github, inputs and vars."""
        github = {
            "event": run.payload,
            "event_name": run.event,
            "repository": self.name,
            "repository_owner": run.actor,
            "actor": run.actor,
            "triggering_actor": run.actor,
            "ref": f"refs/heads/{run.head_branch}",
            "ref_name": run.head_branch,
            "ref_type": "branch",
            "sha": run.head_sha,
            "workflow": run.name,
            "run_id": str(run.id),
            "run_number": str(run.number),
            "run_attempt": "1",
        }
        return {"github": github, "inputs": workflow.typed(run.payload.get("inputs", {})), "vars": self._variables}

    def _execute(self, runner: Runner, run: Run, report: Report, cancelled: threading.Event) -> Conclusion:
        assignment = Assignment(run, self.name, self._tree, self._url, self._variables, self._secrets)
        return runner.execute(assignment, report, cancelled)

    def __enter__(self) -> Self:
        listening = socket.create_server(self._listen)
        self._url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.app,
                http=CuttableProtocol,
                log_config=None,
                lifespan="off",
                timeout_graceful_shutdown=2,
                date_header=False,  # the gate sends it, from `clock`
            )
        )
        self._serving = threading.Thread(
            target=self._server.run, args=([listening],), name="loopback-github", daemon=True
        )
        self._serving.start()
        self._listening = listening
        if self._runner:
            self._queue.start(partial(self._execute, self._runner))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server, and the run in progress with all its processes."""
        self._queue.close()
        self._server.should_exit = True
        self._serving.join()
        self._listening.close()
