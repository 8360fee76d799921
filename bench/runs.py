"""How many jobs, steps and seconds the workflow needs for an event, by the real workflow under `act`.

Prints a table for each checkout: by default this one. A small image takes the place of the one that MLflow's builder
makes, so the seconds are those of everything around it. GitHub adds the start of a runner for each job, and bills each
job by the started minute.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.e2e.workflow_stage import WorkflowStage, dispatch, ended, started
from tests.loopback.github.runs import Run
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.stage import checkout

ROUNDS = 3
Event = tuple[str, list[Run]]


def events(stage: WorkflowStage, github: LoopbackGitHub, name: str) -> Iterator[Event]:
    """Yield what MLflow's users do, with the runs that it causes."""

    def run(number: str, alias: str | None = None) -> Run:
        finished = ended(github, dispatch(github, {"name": name, "version": number, "alias": alias}))
        if finished.conclusion != "success":
            raise SystemExit(finished.failure)
        return finished

    first = stage.register(name)
    stage.client.set_registered_model_alias(name, "champion", first)
    yield "register a version and set its alias", [run(first), run(first, "champion")]
    second = stage.register(name)
    yield "register the next version", [run(second)]
    stage.client.set_registered_model_alias(name, "champion", second)
    yield "move the alias", [run(second, "champion")]


def measure(tree: Path, folder: Path) -> dict[str, list[list[Run]]]:
    """Return the runs of each event, a list per round."""
    measured: dict[str, list[list[Run]]] = {}
    with started(folder, tree) as stage, stage.github(tree=tree) as github:
        for number in range(ROUNDS):
            for event, runs in events(stage, github, f"model-{number}"):
                measured.setdefault(event, []).append(runs)
    return measured


def table(measured: dict[str, list[list[Run]]]) -> str:
    """Return the figures as Markdown; the seconds are the medians of the rounds, and their range."""
    lines = ["| event | jobs | steps | seconds | range |", "| --- | ---: | ---: | ---: | ---: |"]
    for event, rounds in measured.items():
        jobs = [job for run in rounds[0] for job in run.jobs if job.conclusion != "skipped"]
        steps = [step for job in jobs for step in job.steps[1:-1] if step.conclusion != "skipped"]
        seconds = sorted(sum(map(_seconds, runs)) for runs in rounds)
        figures = f"{median(seconds):.1f} | {seconds[0]:.1f} to {seconds[-1]:.1f}"
        lines.append(f"| {event} | {len(jobs)} | {len(steps)} | {figures} |")
    return "\n".join(lines)


def _seconds(run: Run) -> float:
    """Return the time from the first job's start to the last one's end."""
    times = [(job.started_at, job.completed_at) for job in run.jobs if job.started_at and job.completed_at]
    return (max(end for _, end in times) - min(start for start, _ in times)).total_seconds()


def main(trees: Sequence[str]) -> None:
    """Measure each checkout, and print its table."""
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as folder:
        for index, tree in enumerate(map(Path, trees or [str(checkout())])):
            print(f"{tree}\n\n{table(measure(tree.resolve(), Path(folder, str(index))))}\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
