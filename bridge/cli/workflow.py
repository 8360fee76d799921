"""`mlflow-bridge workflow …`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.output import print_json, report_errors

workflow = typer.Typer(no_args_is_help=True, help="The workflow in the repository that is to build the images.")


class RegistryName(StrEnum):
    """Where images go."""

    GHCR = "ghcr"
    DOCKERHUB = "dockerhub"
    ECR = "ecr"
    GOOGLE = "google"
    AZURE = "azure"
    OTHER = "other"


@workflow.command(
    epilog="Example: mlflow-bridge workflow init --bridge owner/mlflow-actions-bridge@COMMIT --registry ghcr"
)
def init(
    bridge: Annotated[
        str, typer.Option(help="The bridge's repository, as owner/mlflow-actions-bridge@commit; . if it is this one.")
    ],
    registry: Annotated[RegistryName, typer.Option(help="Where images go.")] = RegistryName.GHCR,
    path: Annotated[Path, typer.Option(help="The root of the checkout to write into.")] = Path(),
    event_type: Annotated[str, typer.Option(help="What the bridge has as GITHUB_EVENT_TYPE.")] = "mlflow-model-version",
    runs_on: Annotated[
        str, typer.Option(help="The runner's label, or a JSON list of them, where GitHub's own can't reach MLflow.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Give what is to be set as JSON.")] = False,
) -> None:
    """Write .github/workflows/on-mlflow-event.yml into a checkout, and say which variables and secrets to set.

    Nothing is overwritten without --force. Commit the file to the default branch: GitHub looks there alone.
    """
    from bridge.cli import callers

    with report_errors():
        text = callers.write(registry, bridge, event_type=event_type, runs_on=runs_on)
        file = path / callers.FILE
        if not (path / ".git").exists():
            raise callers.CallerInvalid(f"{path.resolve()} is not the root of a git checkout: go there, or give --path")
        if file.exists() and not force:
            raise callers.CallerInvalid(f"{file} is there already: look at it, then give --force to overwrite it")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    variables, secrets = callers.variables(registry), callers.secrets(registry)
    if not callers.is_pinned(bridge):
        print("a tag or branch can be moved: give a whole commit behind @ where that matters", file=sys.stderr)
    if as_json:
        as_dict = {"variables": {each.name: each.value for each in variables}}
        print_json({"file": str(file), **as_dict, "secrets": {each.name: each.value for each in secrets}})
        return
    typer.echo(f"written: {file}")
    typer.echo(f"registry: {callers.REGISTRIES[registry].title}")
    typer.echo("set in the repository, under Settings, Secrets and variables, Actions:")
    for word, settings in (("variable", variables), ("secret", secrets)):
        for each in settings:
            typer.echo(f"  {word} {each.name}: {each.value}")
    typer.echo("then commit the file, push it to the default branch, and run `mlflow-bridge doctor`")
