"""The state of a run from the JSON lines that `act` logs: jobs, steps, annotations, summary, and their logs."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bridge.github.workflow_file import read_yaml
from tests.loopback.github.runs import Annotation, Conclusion, Job, Step
from tests.loopback.runner.outputs import GUARD

_CONCLUSIONS: Mapping[str, Conclusion] = {"success": "success", "failure": "failure", "skipped": "skipped"}


@dataclass(frozen=True)
class PlannedJob:
    """A job in the workflow file; `caller` is the name of the job that calls its workflow, or empty."""

    id: str
    caller: str
    name: str
    steps: Mapping[str, str]
    """The name of each step by its id in `act`, in order."""


def plan(tree: Path, workflow: str, caller: str = "") -> Iterator[PlannedJob]:
    """Yield the jobs of a workflow in the file's order, with those of a called workflow in its caller's place."""
    jobs = read_yaml((tree / workflow).read_text(encoding="utf-8")).get("jobs") or {}
    for job_id, job in jobs.items():
        name = str(job.get("name") or job_id)
        uses = str(job.get("uses") or "")
        if uses.startswith("./"):
            yield from plan(tree, uses, name)
            continue
        steps = {"--setup-job": "Set up job"}
        for index, step in enumerate(job.get("steps") or []):
            steps[str(step.get("id") or index)] = _step_name(step)
        steps["--complete-job"] = "Complete job"
        yield PlannedJob(job_id, caller, f"{caller} / {name}" if caller else name, steps)


def _step_name(step: Mapping[str, Any]) -> str:
    return str(step.get("name") or f"Run {step.get('uses') or str(step.get('run')).strip().splitlines()[0]}")


class Progress:
    """The state of one run's jobs, from the records of `act --json`; all that it writes and returns is masked."""

    def __init__(
        self, planned: Iterable[PlannedJob], folder: Path, first_id: int, masked: Callable[[str], str]
    ) -> None:
        self._planned = list(planned)
        self._folder = folder
        self._masked = masked
        self._indexes: dict[str, int] = {}
        (folder / "jobs").mkdir(parents=True, exist_ok=True)
        self._jobs = [
            Job(first_id + index, job.name, tuple(_steps(job)), folder / "jobs" / f"{index + 1}_{_slug(job.name)}.txt")
            for index, job in enumerate(self._planned)
        ]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs as they are now, including those that have not started."""
        return tuple(self._jobs)

    def feed(self, record: Mapping[str, Any], now: datetime) -> None:
        """Process one record of act's log. `now` is more exact than the record's time, which is in whole seconds."""
        index = self._index_of(record)
        if index is None:
            self._append(self._folder / "runner.txt", record)
            return
        step = _step_id(record)
        if step != GUARD or record.get("command") == "warning":
            self._append(self._jobs[index].log, record)
            if (number := self._step_number(index, record)) is not None:
                self._append(self._jobs[index].step_file(number), record)
        self._note(index, record)
        if step in self._planned[index].steps:
            self._move_step(index, step, record, now)
        if "jobResult" in record:
            self._end_job(index, _CONCLUSIONS.get(record["jobResult"], "failure"), now)
        elif "Skipping unsupported platform" in str(record.get("msg")):
            self._end_job(index, "failure", now)

    def end(self, now: datetime, conclusion: Conclusion) -> None:
        """Complete all jobs: those that never started are skipped, those in progress get the run's conclusion."""
        for index, job in enumerate(self._jobs):
            if job.status != "completed":
                self._end_job(index, "skipped" if job.status == "queued" else conclusion, now)

    def _step_number(self, index: int, record: Mapping[str, Any]) -> int | None:
        """Return the number of the step that logged this, itself or in its composite action."""
        ids = [str(step) for step in record.get("stepid") or record.get("stepID") or []]
        steps = list(self._planned[index].steps)
        return steps.index(ids[0]) + 1 if ids and ids[0] in steps else None

    def _index_of(self, record: Mapping[str, Any]) -> int | None:
        """Find the planned job of a record, by the job's id and by its caller, which is the first part of its path."""
        path = str(record.get("job", "")).strip()
        if not path:
            return None
        if path not in self._indexes:
            free = [
                index
                for index, job in enumerate(self._planned)
                if job.id == record.get("jobID") and index not in self._indexes.values()
            ]
            if not free:
                return None
            self._indexes[path] = max(free, key=lambda index: path.startswith(f"{self._planned[index].caller}/"))
        return self._indexes[path]

    def _move_step(self, index: int, step_id: str, record: Mapping[str, Any], now: datetime) -> None:
        step_index = list(self._planned[index].steps).index(step_id)
        step = self._jobs[index].steps[step_index]
        if "stepResult" in record:
            conclusion = _CONCLUSIONS.get(record["stepResult"], "failure")
            step = replace(step, status="completed", conclusion=step.conclusion or conclusion, completed_at=now)
        elif "continue next step" in str(record.get("msg")):
            step = replace(step, conclusion="success")  # continue-on-error
        elif step.status == "queued":
            step = replace(
                step, name=self._shown(step.name, str(record.get("step"))), status="in_progress", started_at=now
            )
        job = self._jobs[index]
        steps = (*job.steps[:step_index], step, *job.steps[step_index + 1 :])
        self._jobs[index] = replace(job, steps=steps, status="in_progress", started_at=job.started_at or now)

    def _shown(self, planned: str, evaluated: str) -> str:
        """Return a step's name with the values of its expressions, in one line."""
        if "${{" not in planned:
            return planned
        line = self._masked(evaluated).strip().partition("\n")[0]
        return f"Run {line}" if planned.startswith("Run ") and not line.startswith("Run ") else line

    def _end_job(self, index: int, conclusion: Conclusion, now: datetime) -> None:
        steps = tuple(_ended(step, conclusion, now) for step in self._jobs[index].steps)
        job = replace(self._jobs[index], steps=steps, status="completed", conclusion=conclusion, completed_at=now)
        self._jobs[index] = job

    def _note(self, index: int, record: Mapping[str, Any]) -> None:
        command = record.get("command")
        if command in ("notice", "warning", "error"):
            title = str((record.get("kvPairs") or {}).get("title", ""))
            note = Annotation(str(command), self._masked(title), self._masked(str(record.get("arg", ""))))
            self._jobs[index] = replace(self._jobs[index], annotations=(*self._jobs[index].annotations, note))
        elif command == "summary":
            with (self._folder / "summary.md").open("a", encoding="utf-8") as file:
                file.write(self._masked(str(record.get("content", ""))))

    def _append(self, file: Path, record: Mapping[str, Any]) -> None:
        if record.get("command") in ("summary", "add-mask"):
            return
        with file.open("a", encoding="utf-8") as log:
            for line in self._masked(str(record.get("msg", ""))).splitlines():
                log.write(f"{record.get('time', '')} {line}\n")


def read_record(line: str) -> Mapping[str, Any]:
    """Return one line of act's output as a record; a line that isn't a JSON object becomes a message."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    return record if isinstance(record, dict) else {"msg": line}


def _step_id(record: Mapping[str, Any]) -> str:
    """Return the id of the job's step; act logs a list, in which a composite action's steps follow it."""
    ids = record.get("stepid") or record.get("stepID") or [""]
    return str(ids[0]) if len(ids) == 1 and record.get("stage", "Main") == "Main" else ""


def _steps(job: PlannedJob) -> Iterator[Step]:
    return (Step(number, name) for number, name in enumerate(job.steps.values(), start=1))


def _ended(step: Step, conclusion: Conclusion, now: datetime) -> Step:
    if step.status == "completed":
        return step
    return replace(
        step, status="completed", conclusion="skipped" if step.status == "queued" else conclusion, completed_at=now
    )


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)
