"""The steps of the workflow model-image.yml, one command each. An error becomes an annotation and exit status 1."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.core.errors import BridgeError

if TYPE_CHECKING:
    from bridge.image.settings import ImageSettings
    from bridge.image.workspace import Workspace

image = typer.Typer(no_args_is_help=True, help="Run a step of the workflow on an Actions runner.")


@contextmanager
def _step(name: str) -> Iterator[tuple["ImageSettings", "Workspace"]]:
    """Prepare a step, measure its time, and report our errors in an annotation and in the run's summary.

    Programs that it starts inherit the variable by which `clean-up` finds them and their files if the step is killed.
    """
    from bridge.image import actions
    from bridge.image.docker import RUN
    from bridge.image.settings import ImageSettings
    from bridge.image.workspace import Workspace

    settings = ImageSettings()
    workspace = Workspace(settings.runner_temp / "mlflow-bridge")
    os.environ |= {RUN: workspace.run, "TMPDIR": str(workspace.temporary)}
    os.umask(0o022)  # downloaded files go into images that may run as another user
    workspace.temporary.mkdir(exist_ok=True)
    started = time.monotonic()
    try:
        yield settings, workspace
    except BridgeError as error:
        actions.error(f"{name} failed", error.message, error.hint)
        fix = f"<br>Fix: {actions.escape(error.hint)}" if error.hint else ""
        actions.summary(f"<b>{name} failed</b>: {actions.escape(error.message)}{fix}")
        raise typer.Exit(1) from None
    finally:
        workspace.add_seconds(name, time.monotonic() - started)


@image.command("sign-in")
def sign_in(
    failed: Annotated[
        bool, typer.Option("--failed", help="Report that the registry rejected the user and password.")
    ] = False,
) -> None:
    """Choose how to sign in to the registry, or report all missing settings."""
    from bridge.image.registry.credentials import AccessSettings
    from bridge.image.steps.login import sign_in as run
    from bridge.image.steps.login import sign_in_failed

    with _step("sign-in"):
        if failed:
            sign_in_failed(AccessSettings())
        else:
            run(AccessSettings())


@image.command()
def resolve() -> None:
    """Find the version in MLflow, and check whether its image exists."""
    from bridge.image.steps.resolve import resolve as run

    with _step("resolve") as (settings, workspace):
        run(settings, workspace)


@image.command()
def download() -> None:
    """Download the model through MLflow's artifact proxy."""
    from bridge.image.steps.download import download as run

    with _step("download") as (settings, workspace):
        run(settings, workspace)


@image.command()
def build() -> None:
    """Build the image from the downloaded folder."""
    from bridge.image.steps.build import build as run

    with _step("build") as (settings, workspace):
        run(settings, workspace)


@image.command("smoke-test")
def smoke_test() -> None:
    """Start the image in a sandbox, and send it requests."""
    from bridge.image.steps.smoke_test import smoke_test as run

    with _step("smoke-test") as (settings, workspace):
        run(settings, workspace)


@image.command()
def push() -> None:
    """Push the smoke-tested image."""
    from bridge.image.steps.push import push as run

    with _step("push") as (settings, workspace):
        run(settings, workspace)


@image.command()
def sbom() -> None:
    """Write an SBOM of the pushed image."""
    from bridge.image.steps.sbom import sbom as run

    with _step("sbom") as (_, workspace):
        run(workspace)


@image.command()
def gate() -> None:
    """Run the command that decides whether aliases are promoted."""
    from bridge.image.steps.gate import gate as run

    with _step("gate") as (settings, workspace):
        run(settings, workspace)


@image.command("clean-up")
def clean_up() -> None:
    """Remove what this job left on the runner, even if its steps were killed."""
    from bridge.image.steps.build import clean_up as run

    with _step("clean-up") as (_, workspace):
        run(workspace)


@image.command()
def promote() -> None:
    """Set the model's aliases as tags in the registry, and write the summary."""
    from bridge.image.steps.promote import promote as run

    with _step("promote") as (settings, workspace):
        run(settings, workspace)


@image.command()
def report(
    failed: Annotated[bool, typer.Option("--failed", help="Report that an earlier step failed.")] = False,
) -> None:
    """Record the image, or the failure, in MLflow."""
    from bridge.image.steps.report import report_failed, report_pushed

    with _step("report") as (settings, workspace):
        if failed:
            report_failed(settings, workspace)
        else:
            report_pushed(settings, workspace)
