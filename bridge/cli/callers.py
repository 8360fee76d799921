"""The workflow that calls model-image.yml from a user's repository, and what its registry needs set there. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2

from bridge.core.errors import BridgeError

FILE: Final = Path(".github/workflows/on-mlflow-event.yml")
CALLED: Final = ".github/workflows/model-image.yml"
HERE: Final = "."
"""Stands for the bridge's repository where that is the caller's own."""

_BRIDGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+@[A-Za-z0-9._/-]+")
_COMMIT: Final = re.compile(r"@[0-9a-f]{40}$")
_PLAIN: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
"""Needs no quotes in YAML."""

_TEMPLATES: Final = Path(__file__).parent / "templates"

_CHECK_OUT: Final = ("contents", "read", "check out the bridge's code where it lives in this repository")
_PACKAGES: Final = (
    "packages",
    "write",
    "push to GHCR, the default registry; docs/registries.md says what others need",
)
_IDENTITY: Final = ("id-token", "write", "sign in without a key that is stored anywhere")


class CallerInvalid(BridgeError):
    """No workflow can be written of what was given."""


@dataclass(frozen=True)
class Setting:
    """A variable or secret of the repository that is to build: what it has to be."""

    name: str
    value: str


@dataclass(frozen=True)
class Registry:
    """What a registry needs set beside MLflow's address, and what its run must be granted: scope, level and why."""

    title: str
    variables: tuple[Setting, ...] = ()
    secrets: tuple[Setting, ...] = ()
    grants: tuple[tuple[str, str, str], ...] = ()


def _by_identity(title: str, host: str, namespace: str, *more: Setting) -> Registry:
    return Registry(
        title, (Setting("DOCKER_REGISTRY", host), Setting("DOCKER_NAMESPACE", namespace), *more), grants=(_IDENTITY,)
    )


def _by_password(title: str, host: str, namespace: str, user: str, password: str) -> Registry:
    return Registry(
        title,
        (
            Setting("DOCKER_REGISTRY", host),
            Setting("DOCKER_NAMESPACE", namespace),
            Setting("DOCKER_USERNAME", user),
        ),
        (Setting("DOCKER_REGISTRY_PASSWORD", password),),
    )


REGISTRIES: Final[Mapping[str, Registry]] = {
    "ghcr": Registry(
        "GitHub's container registry: nothing to set, the run signs in with its own token", grants=(_PACKAGES,)
    ),
    "dockerhub": _by_password(
        "Docker Hub", "docker.io", "your account or organisation", "your account", "an access token that may write"
    ),
    "ecr": _by_identity(
        "Amazon ECR",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com, as yours is",
        "what stands before the model's name in its repository's name",
        Setting("AWS_ROLE_TO_ASSUME", "the role that trusts GitHub's identity provider and may push"),
    ),
    "google": _by_identity(
        "Google Artifact Registry",
        "europe-docker.pkg.dev, as your location is",
        "project/repository",
        Setting("GOOGLE_WORKLOAD_IDENTITY_PROVIDER", "projects/…/providers/…, the provider that trusts GitHub"),
        Setting("GOOGLE_SERVICE_ACCOUNT", "the service account that may write"),
    ),
    "azure": _by_identity(
        "Azure Container Registry",
        "yours.azurecr.io",
        "what is to stand before the model's name, if anything",
        Setting("AZURE_CLIENT_ID", "the application with the role AcrPush and a credential for GitHub"),
        Setting("AZURE_TENANT_ID", "its tenant"),
        Setting("AZURE_SUBSCRIPTION_ID", "the registry's subscription"),
    ),
    "other": _by_password(
        "any registry with user and password",
        "its host, with a dot or a port",
        "what is to stand before the model's name, if anything",
        "your user there",
        "its password",
    ),
}

MLFLOW: Final = (
    (Setting("MLFLOW_TRACKING_URI", "MLflow's address, as the runner reaches it"),),
    (
        Setting("MLFLOW_TRACKING_USERNAME", "MLflow's user, where it asks for one"),
        Setting("MLFLOW_TRACKING_PASSWORD", "that user's password"),
        Setting("MLFLOW_TRACKING_TOKEN", "or MLflow's token, where it asks for that"),
    ),
)


def variables(registry: str) -> tuple[Setting, ...]:
    """Give the repository variables to set."""
    return (*MLFLOW[0], *REGISTRIES[registry].variables)


def secrets(registry: str) -> tuple[Setting, ...]:
    """Give the repository secrets to set."""
    return (*MLFLOW[1], *REGISTRIES[registry].secrets)


def write(registry: str, bridge: str, *, event_type: str, runs_on: str = "") -> str:
    """Give the workflow's text; `bridge` is owner/name@ref, or `HERE`. Raises `CallerInvalid`."""
    return (
        _environment()
        .get_template(FILE.name)
        .render(
            registry=registry,
            event_type=_quoted(event_type),
            runs_on=runs_on and _quoted(runs_on),
            uses=_uses(bridge),
            permissions=[_CHECK_OUT, *REGISTRIES[registry].grants],
        )
    )


def is_pinned(bridge: str) -> bool:
    """Tell whether it names a commit, which nobody can move."""
    return bridge == HERE or _COMMIT.search(bridge) is not None


def _uses(bridge: str) -> str:
    if bridge == HERE:
        return f"./{CALLED}"
    if not _BRIDGE.fullmatch(bridge):
        raise CallerInvalid(
            "--bridge is no repository with a commit or tag: give owner/mlflow-actions-bridge@commit, or . for this one"
        )
    repository, _, ref = bridge.partition("@")
    return f"{repository}/{CALLED}@{ref}"


def _quoted(text: str) -> str:
    """Give it as a YAML scalar; what JSON writes is YAML too."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(  # noqa: S701  it makes YAML, in which GitHub's own ${{ }} stand
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
