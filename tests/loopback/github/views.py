"""How GitHub writes runs, jobs and workflows as JSON, as far as a client of ours may read them.

Source: GitHub's documents "REST API endpoints for workflow runs", "… for workflow jobs" and "… for workflows".
"""

import operator
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.github.workflow_file import Workflow
from tests.loopback.github.runs import Job, Run


@dataclass(frozen=True)
class Views:
    """Writes with the addresses of one repository."""

    url: str
    repository: str

    @property
    def api(self) -> str:
        """Give the address of the repository in the API."""
        return f"{self.url}/repos/{self.repository}"

    def page(self, run_id: int) -> str:
        """Give the address of a run's page."""
        return f"{self.url}/{self.repository}/actions/runs/{run_id}"

    def about(self) -> dict[str, Any]:
        """Give the repository."""
        owner, _, name = self.repository.partition("/")
        return {
            "id": zlib.crc32(self.repository.encode()),
            "name": name,
            "full_name": self.repository,
            "owner": {"login": owner},
            "private": True,
            "default_branch": "main",
            "url": self.api,
            "html_url": f"{self.url}/{self.repository}",
        }

    def run(self, run: Run) -> dict[str, Any]:
        """Give one run."""
        address = f"{self.api}/actions/runs/{run.id}"
        return {
            "id": run.id,
            "name": run.name,
            "head_branch": run.head_branch,
            "head_sha": run.head_sha,
            "path": run.workflow,
            "display_title": run.title,
            "run_number": run.number,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion,
            "workflow_id": workflow_id(run.workflow),
            "url": address,
            "html_url": self.page(run.id),
            "created_at": moment(run.created_at),
            "updated_at": moment(run.updated_at),
            "actor": {"login": run.actor},
            "triggering_actor": {"login": run.actor},
            "run_attempt": 1,
            "run_started_at": moment(run.started_at or run.created_at),
            "jobs_url": f"{address}/jobs",
            "logs_url": f"{address}/logs",
            "workflow_url": f"{self.api}/actions/workflows/{workflow_id(run.workflow)}",
            "repository": self.about(),
        }

    def job(self, run: Run, job: Job) -> dict[str, Any]:
        """Give one job of a run, with its steps."""
        return {
            "id": job.id,
            "run_id": run.id,
            "run_url": f"{self.api}/actions/runs/{run.id}",
            "run_attempt": 1,
            "head_sha": run.head_sha,
            "url": f"{self.api}/actions/jobs/{job.id}",
            "html_url": f"{self.page(run.id)}/job/{job.id}",
            "name": job.name,
            "workflow_name": run.name,
            **_state(job),
            "steps": [{"name": step.name, "number": step.number, **_state(step)} for step in job.steps],
        }

    def workflow(self, workflow: Workflow) -> dict[str, Any]:
        """Give one workflow."""
        number = workflow_id(workflow.path)
        return {
            "id": number,
            "name": workflow.name,
            "path": workflow.path,
            "state": "active",
            "url": f"{self.api}/actions/workflows/{number}",
            "html_url": f"{self.url}/{self.repository}/blob/main/{workflow.path}",
        }


def workflow_id(path: str) -> int:
    """Give the number of a workflow: the same path has the same one."""
    return zlib.crc32(path.encode())


def moment(when: datetime | None) -> str | None:
    """Give a time as GitHub writes it: UTC, in whole seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if when else None


def select(runs: Iterable[Run], wanted: Mapping[str, str]) -> list[Run]:
    """Give the runs that fit the query's filters event, status, branch, head_sha, actor and created."""
    return [run for run in runs if all(_fits(run, name, value) for name, value in wanted.items())]


def _fits(run: Run, name: str, value: str) -> bool:
    match name:
        case "event":
            return run.event == value
        case "status":
            return value in (run.status, run.conclusion)
        case "branch":
            return run.head_branch == value
        case "head_sha":
            return run.head_sha == value
        case "actor":
            return run.actor == value
        case "created":
            return _created(moment(run.created_at) or "", value)
    return True


_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def _created(created: str, value: str) -> bool:
    """Compare as GitHub's document "Understanding the search syntax" says: `>=T`, `<T`, `T..T`, `*..T`, or a day."""
    first, dots, last = value.partition("..")
    if dots:
        return all(_created(created, f"{sign}{end}") for sign, end in ((">=", first), ("<=", last)) if end != "*")
    for sign, compare in _COMPARISONS.items():
        if value.startswith(sign):
            limit = _utc(value.removeprefix(sign))
            return bool(compare(created[: len(limit)], limit))
    return created.startswith(_utc(value))


def _utc(text: str) -> str:
    """Give a time in the form of `moment`, and a day as it is."""
    return moment(datetime.fromisoformat(text)) or text if "T" in text else text


def _state(part: Any) -> dict[str, Any]:
    return {
        "status": part.status,
        "conclusion": part.conclusion,
        "started_at": moment(part.started_at),
        "completed_at": moment(part.completed_at),
    }
