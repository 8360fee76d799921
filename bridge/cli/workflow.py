"""`mlflow-bridge workflow …`: the caller workflow for a repository, and the settings that its registry needs."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from bridge.cli.output import print_json, report_errors
from bridge.core.errors import BridgeError
from bridge.github.runners import RunnerUnavailable, RunsOn, RunsOnInvalid, check_owners, read_runs_on

FILE: Final = Path(".github/workflows/on-mlflow-event.yml")
CALLED: Final = ".github/workflows/model-image.yml"
SAME_REPOSITORY: Final = "."
"""The value of `--bridge` if the caller is in the bridge's own repository."""

_BRIDGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+@[A-Za-z0-9._/-]+")
_COMMIT: Final = re.compile(r"@[0-9a-f]{40}$")
_REPOSITORY: Final = re.compile(r"[:/]([^:/]+/[^:/]+?)(?:\.git)?/?$")
"""Owner and name at the end of a remote's address."""

_PLAIN: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
"""Text that needs no quotes in YAML."""


class CallerInvalid(BridgeError):
    """The workflow cannot be written from these options."""


class RegistryName(StrEnum):
    """The registries that `--registry` accepts."""

    GHCR = "ghcr"
    DOCKERHUB = "dockerhub"
    ECR = "ecr"
    GOOGLE = "google"
    AZURE = "azure"
    OTHER = "other"


@dataclass(frozen=True)
class Setting:
    """A variable or secret of the repository; `example` is empty for a secret."""

    name: str
    meaning: str
    example: str = ""

    def __str__(self) -> str:
        return f"{self.meaning}, such as {self.example}" if self.example else self.meaning


@dataclass(frozen=True)
class Registry:
    """The settings of a registry, apart from MLflow's; `permissions` are scope, level and reason."""

    title: str
    variables: tuple[Setting, ...] = ()
    secrets: tuple[Setting, ...] = ()
    permissions: tuple[tuple[str, str, str], ...] = ()


_CHECKOUT: Final = ("contents", "read", "check out the bridge's code if it is in this repository")
_PACKAGES: Final = (
    "packages",
    "write",
    "push to GHCR, the default registry; docs/registries.md has the permissions for others",
)
_IDENTITY: Final = ("id-token", "write", "sign in without a stored key")

_PREFIX: Final = Setting("DOCKER_NAMESPACE", "prefix of the images' names", "models")

REGISTRIES: Final[Mapping[RegistryName, Registry]] = {
    RegistryName.GHCR: Registry(
        "GitHub Container Registry (nothing to set: the run signs in with its own token)", permissions=(_PACKAGES,)
    ),
    RegistryName.DOCKERHUB: Registry(
        "Docker Hub",
        (
            Setting("DOCKER_REGISTRY", "the registry's host", "docker.io"),
            Setting("DOCKER_NAMESPACE", "your account or organization", "my-organization"),
            Setting("DOCKER_USERNAME", "your account", "my-account"),
        ),
        (Setting("DOCKER_REGISTRY_PASSWORD", "an access token of that account with the scopes read and write"),),
    ),
    RegistryName.ECR: Registry(
        "Amazon ECR",
        (
            Setting("DOCKER_REGISTRY", "the registry's host", "123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
            _PREFIX,
            Setting(
                "AWS_ROLE_TO_ASSUME",
                "a role that trusts GitHub's OIDC provider and may push",
                "arn:aws:iam::123456789012:role/model-images",
            ),
        ),
        permissions=(_IDENTITY,),
    ),
    RegistryName.GOOGLE: Registry(
        "Google Artifact Registry",
        (
            Setting("DOCKER_REGISTRY", "the registry's host", "europe-west1-docker.pkg.dev"),
            Setting("DOCKER_NAMESPACE", "project and repository", "my-project/models"),
            Setting(
                "GOOGLE_WORKLOAD_IDENTITY_PROVIDER",
                "the workload identity provider that trusts GitHub",
                "projects/123456789/locations/global/workloadIdentityPools/github/providers/github",
            ),
            Setting(
                "GOOGLE_SERVICE_ACCOUNT",
                "a service account that may push images",
                "model-images@my-project.iam.gserviceaccount.com",
            ),
        ),
        permissions=(_IDENTITY,),
    ),
    RegistryName.AZURE: Registry(
        "Azure Container Registry",
        (
            Setting("DOCKER_REGISTRY", "the registry's host", "myregistry.azurecr.io"),
            _PREFIX,
            Setting(
                "AZURE_CLIENT_ID",
                "an application with the role AcrPush and a federated credential for GitHub",
                "00000000-0000-0000-0000-000000000001",
            ),
            Setting("AZURE_TENANT_ID", "its tenant", "00000000-0000-0000-0000-000000000002"),
            Setting("AZURE_SUBSCRIPTION_ID", "the registry's subscription", "00000000-0000-0000-0000-000000000003"),
        ),
        permissions=(_IDENTITY,),
    ),
    RegistryName.OTHER: Registry(
        "another registry with user and password, such as Harbor, Quay or GitLab's",
        (
            Setting("DOCKER_REGISTRY", "the registry's host", "harbor.example.com"),
            _PREFIX,
            Setting("DOCKER_USERNAME", "your user there", "robot-account"),
        ),
        (Setting("DOCKER_REGISTRY_PASSWORD", "that user's password"),),
    ),
}

_MLFLOW: Final = Setting(
    "MLFLOW_TRACKING_URI", "MLflow's address, as the runner reaches it", "https://mlflow.example.com"
)
_SIGN_IN_TO_MLFLOW: Final = (
    Setting("MLFLOW_TRACKING_USERNAME", "MLflow's user, if it requires one"),
    Setting("MLFLOW_TRACKING_PASSWORD", "that user's password"),
    Setting("MLFLOW_TRACKING_TOKEN", "MLflow's token, as an alternative"),
)

workflow = typer.Typer(no_args_is_help=True, help="Set up the workflow in the repository that builds the images.")


@workflow.command(
    epilog="Example: mlflow-bridge workflow init --bridge owner/mlflow-actions-bridge@COMMIT --registry ghcr"
)
def init(
    bridge: Annotated[
        str,
        typer.Option(
            help="The bridge's repository, as owner/mlflow-actions-bridge@COMMIT, or . if the workflow is in that "
            "repository."
        ),
    ],
    registry: Annotated[RegistryName, typer.Option(help="Registry for the images.")] = RegistryName.GHCR,
    path: Annotated[Path, typer.Option(help="Root of the repository's checkout.")] = Path(),
    event_type: Annotated[
        str, typer.Option(help="Event type; must match the bridge's GITHUB_EVENT_TYPE.")
    ] = "mlflow-model-version",
    runs_on: Annotated[
        str,
        typer.Option(
            help="Runner label, JSON list of labels, or JSON object with group and labels; required if GitHub-hosted "
            "runners can't reach MLflow."
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    to_stdout: Annotated[bool, typer.Option("--print", help="Print the workflow instead of writing it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the workflow file, and list the variables and secrets to set.

    Writes .github/workflows/on-mlflow-event.yml into a checkout. Commit the file to the default branch: GitHub ignores
    it on other branches.
    """
    runs_on = runs_on.strip()
    with report_errors():
        text = render(registry, bridge, event_type=event_type, runs_on=runs_on)
        if to_stdout:
            typer.echo(text, nl=False)
            return
        file = path / FILE
        if not (path / ".git").exists():
            raise CallerInvalid(f"{path.resolve()} is not the root of a git checkout", "change to it, or use --path")
        if file.exists() and not force:
            raise CallerInvalid(f"{file} already exists", "review it, then use --force to overwrite it")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for problem in _doubts(bridge, runs_on, path):
        print(f"warning: {problem}", file=sys.stderr)
    if as_json:
        settings_of = {"variables": variables(registry), "secrets": secrets(registry)}
        listed = {kind: {setting.name: str(setting) for setting in settings} for kind, settings in settings_of.items()}
        print_json({"file": str(file), **listed})
        return
    typer.echo(f"created: {file}")
    typer.echo(f"registry: {REGISTRIES[registry].title}")
    typer.echo("set these in the repository, under Settings → Secrets and variables → Actions:")
    for kind, settings in (("variable", variables(registry)), ("secret", secrets(registry))):
        for setting in settings:
            typer.echo(f"  {kind} {setting.name}: {setting}")
    if bridge != SAME_REPOSITORY:
        typer.echo(
            f"{bridge.partition('@')[0]} must be public: a run can only check out public repositories and its own"
        )
    typer.echo("then commit the file, push it to the default branch, and run `mlflow-bridge doctor`")


def _doubts(bridge: str, runs_on: str, path: Path) -> Iterator[str]:
    """Yield what may not work in a valid workflow."""
    if bridge == SAME_REPOSITORY:
        return
    called = bridge.partition("@")[0]
    if not _COMMIT.search(bridge):
        yield "tags and branches can move: use a full commit hash after the @ to pin the code"
    if runner := _runner(runs_on):
        try:
            check_owners(runner, called, _origin(path))
        except RunnerUnavailable as error:
            yield f"{error.message}; {error.hint}"


def _runner(runs_on: str) -> RunsOn | None:
    """Return what `--runs-on` selects; None if it isn't set, or is an expression. Raises `RunsOnInvalid`."""
    return read_runs_on(runs_on) if runs_on and "${{" not in runs_on else None


def _origin(path: Path) -> str:
    """Return owner/name of the checkout's remote, empty if it has none."""
    try:
        command = ["git", "-C", str(path), "remote", "get-url", "origin"]
        url = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    found = _REPOSITORY.search(url.strip())
    return found[1] if found else ""


def variables(registry: RegistryName) -> tuple[Setting, ...]:
    """Return the repository variables to set."""
    return (_MLFLOW, *REGISTRIES[registry].variables)


def secrets(registry: RegistryName) -> tuple[Setting, ...]:
    """Return the repository secrets to set."""
    return (*_SIGN_IN_TO_MLFLOW, *REGISTRIES[registry].secrets)


def render(registry: RegistryName, bridge: str, *, event_type: str, runs_on: str = "") -> str:
    """Return the workflow's text; `bridge` is owner/name@ref or `SAME_REPOSITORY`. Raises `CallerInvalid`."""
    import jinja2

    if bridge == SAME_REPOSITORY:
        uses = f"./{CALLED}"
    elif _BRIDGE.fullmatch(bridge):
        repository, _, ref = bridge.partition("@")
        uses = f"{repository}/{CALLED}@{ref}"
    else:
        hint = "use owner/mlflow-actions-bridge@COMMIT, or . if the workflow is in that repository"
        raise CallerInvalid("--bridge is not a repository with a commit, tag or branch", hint)
    try:
        _runner(runs_on)
    except RunsOnInvalid as error:
        raise CallerInvalid(f"--runs-on can't be used: {error.message}", error.hint) from error
    environment = jinja2.Environment(  # noqa: S701  it renders YAML, which has GitHub's own ${{ }}
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(FILE.name).render(
        registry=registry.value,
        event_type=_quote(event_type),
        runs_on=runs_on and _quote(runs_on),
        uses=uses,
        permissions=[_CHECKOUT, *REGISTRIES[registry].permissions],
    )


def _quote(text: str) -> str:
    """Return the text as YAML: JSON, which is YAML too, if it needs escapes."""
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)
