"""Runs and workflows as GitHub's JSON, with the fields that a client of ours may read.

Source: GitHub's documents "REST API endpoints for workflow runs" and "… for workflows".
"""

import operator
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.github.workflow_file import Workflow
from tests.loopback.github.runs import Run


@dataclass(frozen=True)
class Views:
    """JSON with the addresses of one repository."""

    url: str
    repository: str

    @property
    def api(self) -> str:
        """The address of the repository in the API."""
        return f"{self.url}/repos/{self.repository}"

    def page(self, run_id: int) -> str:
        """Return the address of a run's page."""
        return f"{self.url}/{self.repository}/actions/runs/{run_id}"

    def about(self) -> dict[str, Any]:
        """Return the repository."""
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
        """Return one run."""
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
            "workflow_url": f"{self.api}/actions/workflows/{workflow_id(run.workflow)}",
            "repository": self.about(),
        }

    def workflow(self, workflow: Workflow) -> dict[str, Any]:
        """Return one workflow."""
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
    """Return a workflow's id, which depends on its path alone."""
    return zlib.crc32(path.encode())


def moment(when: datetime | None) -> str | None:
    """Return a time in GitHub's form: UTC, in whole seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if when else None


def select(runs: Iterable[Run], query: Mapping[str, str]) -> list[Run]:
    """Return the runs that match the query's filters; raises for a filter that is not implemented here."""
    filters = {name: value for name, value in query.items() if name not in ("page", "per_page")}
    return [run for run in runs if all(_matches(run, name, value) for name, value in filters.items())]


_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def _matches(run: Run, name: str, value: str) -> bool:
    if name == "event":
        return run.event == value
    if name != "created":
        raise NotImplementedError(f"the loopback GitHub has no filter {name!r}")
    # GitHub's document "Understanding the search syntax": a comparison before a time.
    sign = next(sign for sign in _COMPARISONS if value.startswith(sign))
    limit = datetime.fromisoformat(value.removeprefix(sign))
    return bool(_COMPARISONS[sign](run.created_at.replace(microsecond=0), limit))
