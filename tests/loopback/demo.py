"""`make demo`: shows how one model gets from MLflow to a serving image."""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bridge.core.errors import BridgeError
from tests.loopback.github.runs import Job, Run, RunNotCompleted, Step
from tests.loopback.registry import Registry
from tests.loopback.stage import Stage, checkout, missing_for_images, remove_images, serving, stage

MODEL = "Iris Clf (EU)"
ALIAS = "champion"
_EXAMPLE = {
    "dataframe_split": {
        "columns": ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"],
        "data": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]],
    }
}
_SPECIES = {"predictions": [0, 2]}
"""A setosa and a virginica."""
_DISPATCH_SECONDS = 600.0


class DemoFailed(BridgeError):
    """A step of the demo did not work."""


def run(*, keep: bool) -> int:
    """Show the whole way, or as much of it as this machine can; returns the exit status."""
    console = Console(highlight=False)
    try:
        tree, missing = checkout(), missing_for_images()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlflow-bridge-demo-")))
            with _step(console, "Start MLflow, the bridge, a simulated GitHub" + ("" if missing else ", a registry")):
                setup = stack.enter_context(stage(tree, folder, images=missing is None))
            if setup.registry:
                stack.callback(remove_images, setup.registry.host)
            _show(console, setup, missing)
            if keep:
                _wait(console, setup)
    except BridgeError as error:
        console.print(f"[red]✗[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    return 0


def _show(console: Console, setup: Stage, missing: str | None) -> None:
    started = time.monotonic()
    with _step(console, f"Log and register {MODEL!r} in MLflow, alias {ALIAS!r}"):
        registered = setup.register(MODEL, ALIAS)
    with _step(console, "MLflow delivers webhooks to the bridge, which dispatches to GitHub"):
        runs = _runs(setup)
    seconds = setup.github.dispatches[0].received_at.timestamp() - registered["registered"]
    table = _table("Value", f"{MODEL} version {registered['version']}")
    table.add_row("Registration to dispatch", f"{seconds:.2f} s")
    if setup.registry is None:
        _show_dockerfile(console, setup, runs, registered["version"])
        table.add_row("Runs on GitHub", "\n".join(escape(run.title) for run in runs))
        table.add_row("Missing for the image", escape(str(missing)))
    else:
        for run in runs:
            _follow(console, setup, run)
        _show_image(console, setup, setup.registry, table, registered["version"])
    table.add_row("Total", f"{time.monotonic() - started:.0f} s")
    console.print(table)


def _runs(setup: Stage) -> list[Run]:
    """Return the runs of the version's event and of the alias's, oldest first."""
    try:
        return list(reversed(setup.github.wait_for_runs(2, _DISPATCH_SECONDS)))
    except RunNotCompleted as error:
        log = "\n".join(setup.bridge.last_lines(20))
        raise DemoFailed(
            f"GitHub received {len(setup.github.dispatches)} of 2 dispatches within {_DISPATCH_SECONDS:.0f} s; "
            f"the end of the bridge's log:\n{log}"
        ) from error


def _follow(console: Console, setup: Stage, run: Run) -> None:
    """Print a line for each step that ends, with a bar for the one in progress. Raises `DemoFailed`."""
    console.print(f"[bold]Run[/] {escape(run.title)}")
    columns = (TextColumn("  {task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
    printed: set[tuple[str, int]] = set()
    with Progress(*columns, console=console, transient=True) as progress:
        task, shown = progress.add_task("waiting", total=None), ""
        while True:
            now = next(other for other in setup.github.runs if other.id == run.id)
            for job, step in _ended_steps(now):
                if (job.name, step.number) not in printed:
                    printed.add((job.name, step.number))
                    progress.console.print(_line(job, step))
            if (current := _current_step(now)) != shown:
                progress.reset(task, description=escape(current), total=None)
                shown = current
            if now.status == "completed":
                break
            time.sleep(0.2)
    if now.conclusion != "success":
        raise DemoFailed(now.failure)


def _ended_steps(run: Run) -> Iterator[tuple[Job, Step]]:
    for job in run.jobs:
        for step in job.steps:
            if step.status == "completed" and step.conclusion != "skipped":
                yield job, step


def _line(job: Job, step: Step) -> str:
    mark = "[green]✓[/]" if step.conclusion == "success" else "[red]✗[/]"
    took = (step.completed_at - step.started_at).total_seconds() if step.completed_at and step.started_at else 0.0
    return f"  {mark} {escape(_short(job))}: {escape(step.name)} [dim]{took:.1f} s[/]"


def _current_step(run: Run) -> str:
    names = (f"{_short(job)}: {step.name}" for job in run.jobs for step in job.steps if step.status == "in_progress")
    return next(names, run.status.replace("_", " "))


def _short(job: Job) -> str:
    return job.name.rpartition("/")[2].strip()


def _show_image(console: Console, setup: Stage, registry: Registry, table: Table, version: str) -> None:
    """Run the image that MLflow's tags name, ask it for predictions, and fill the table. Raises `DemoFailed`."""
    with setup.api() as mlflow:
        tags = mlflow.version(MODEL, version).tags
    reference = tags["image.uri"]
    with (
        _step(console, "Pull the image from the registry, run it, and request predictions"),
        serving(registry, reference, setup.folder / "docker") as url,
    ):
        answer = httpx2.post(f"{url}/invocations", json=_EXAMPLE, timeout=60.0, trust_env=False)
    if answer.status_code != 200 or answer.json() != _SPECIES:
        raise DemoFailed(f"/invocations returned {answer.status_code} {answer.text[:200]}, not {_SPECIES}")
    repository = reference.partition("@")[0]
    table.add_row("Image", repository)
    table.add_row("Tags in the registry", ", ".join(registry.tags(repository)))
    for key, value in sorted(tags.items()):
        table.add_row(f"MLflow's tag {key}", escape(value))
    table.add_row("POST /invocations", escape(answer.text))


def _show_dockerfile(console: Console, setup: Stage, runs: list[Run], version: str) -> None:
    """Print the Dockerfile that the runner would build. Raises `DemoFailed`."""
    console.print(f"[bold]Run[/] {escape(runs[0].title)} is {runs[0].status}; a runner would build this image:")
    folder = setup.folder / "dockerfile"
    command = [sys.executable, "-m", "mlflow", "models", "generate-dockerfile", "--env-manager", "local"]
    result = subprocess.run(
        [*command, "--model-uri", f"models:/{MODEL}/{version}", "--output-directory", str(folder)],
        env={"PATH": "", "MLFLOW_TRACKING_URI": setup.mlflow.url, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        raise DemoFailed(f"mlflow models generate-dockerfile failed: {result.stderr.strip()[-300:]}")
    console.print(escape((folder / "Dockerfile").read_text(encoding="utf-8").strip()), style="dim")


def _wait(console: Console, setup: Stage) -> None:
    """Print where everything is, and keep it running until Ctrl-C."""
    table = _table("Where", "Still running: press Ctrl-C to stop")
    table.add_row("MLflow", f"{setup.mlflow.url}/#/models")
    table.add_row("The bridge", setup.bridge.url)
    for run in reversed(setup.github.runs):
        table.add_row(f"Run {escape(run.title)}", setup.github.page(run))
    if setup.registry:
        table.add_row("The registry", f"http://{setup.registry.host}/v2/_catalog")
    table.add_row("Files and logs", str(setup.folder))
    console.print(table)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _table(column: str, title: str) -> Table:
    table = Table("What", title=title)
    table.add_column(column, overflow="fold")
    return table


@contextmanager
def _step(console: Console, title: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(escape(title)):
        yield
    console.print(f"[green]✓[/] {escape(title)} [dim]{time.monotonic() - started:.1f} s[/]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep everything running at the end")
    sys.exit(run(keep=parser.parse_args().keep))
