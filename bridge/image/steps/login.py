"""Steps "sign-in" and "make-repository": how this run gets into the registry, and room there for the model's images."""

from dataclasses import asdict

from pydantic_settings import BaseSettings, SettingsConfigDict

from bridge.image import actions
from bridge.image.errors import RegistryError
from bridge.image.registry.credentials import EcrHost, Given, SignIn, choose, ecr_host
from bridge.image.registry.ecr import AccessDenied, Ecr, alias_filters
from bridge.image.settings import GHCR

_GITHUB = "https://github.com"


class AccessSettings(BaseSettings):
    """The environment of these two steps. Of a secret, they are told whether it is set, and nothing more."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="ignore")

    docker_registry: str = GHCR
    docker_namespace: str = ""
    docker_username: str = ""
    has_password: bool = False
    has_aws_keys: bool = False
    has_mlflow: bool = True
    aws_role_to_assume: str = ""
    google_workload_identity_provider: str = ""
    google_service_account: str = ""
    azure_client_id: str = ""
    azure_tenant_id: str = ""
    azure_subscription_id: str = ""
    actions_id_token_request_url: str = ""
    """The runner sets it where the job may ask for an OIDC token (`id-token: write`)."""
    github_server_url: str = _GITHUB
    ecr_alias_filters: str = ""

    def given(self) -> Given:
        """Say what is set in the words of the choice."""
        return Given(
            registry=self.docker_registry,
            namespace=self.docker_namespace,
            username=self.docker_username,
            password=self.has_password,
            aws_role=self.aws_role_to_assume,
            aws_keys=self.has_aws_keys,
            google_provider=self.google_workload_identity_provider,
            google_service_account=self.google_service_account,
            azure_client=self.azure_client_id,
            azure_tenant=self.azure_tenant_id,
            azure_subscription=self.azure_subscription_id,
            id_token=bool(self.actions_id_token_request_url),
            github_com=self.github_server_url == _GITHUB,
        )


def sign_in(settings: AccessSettings) -> None:
    """Set the outputs by which the sign-in action chooses its steps. Raises `MissingSetting`, `InvalidInput`."""
    alias_filters(settings.ecr_alias_filters)
    besides = () if settings.has_mlflow else ("the variable or secret MLFLOW_TRACKING_URI",)
    chosen = choose(settings.given(), besides=besides)
    actions.say(f"{settings.docker_registry}: signing in by {chosen.way}")
    for name, value in outputs(chosen).items():
        actions.output(name, value)


def sign_in_failed(settings: AccessSettings) -> None:
    """Say what to check where the registry did not take user and password. Raises `RegistryError`, always."""
    user = choose(settings.given()).username
    raise RegistryError(
        f"{settings.docker_registry}: the sign-in as {user} failed: check DOCKER_USERNAME and "
        "DOCKER_REGISTRY_PASSWORD; the log of the step before this one says what the registry answered"
    )


def outputs(chosen: SignIn) -> dict[str, str]:
    """Give the outputs of the step, by name."""
    return {name.replace("_", "-"): str(value) for name, value in asdict(chosen).items()}


def make_repository(settings: AccessSettings, repository: str) -> None:
    """Make the repository where ECR lacks it; any other registry makes its own at the push.

    Raises `RegistryError` where ECR refuses. A role that may not even look is let go on: the push will tell.
    """
    host = ecr_host(settings.docker_registry)
    if host is None:
        return
    name = _name(repository, host)
    filters = alias_filters(settings.ecr_alias_filters)
    try:
        found, made = Ecr.connect(host).ensure(name, filters)
    except AccessDenied as error:
        actions.notice("Repository not looked at", str(error))
        return
    actions.say(f"{name} {'was made' if made else 'is there'}: {found.mutability} {' '.join(found.filters)}")
    if filters and not made and set(found.filters) != set(filters):
        actions.notice(
            "ecr-alias-filters not applied",
            f"{name} is there and {found.mutability}: a repository that is there keeps its setting; change it at AWS",
        )


def _name(repository: str, host: EcrHost) -> str:
    """Give ECR's own name of a repository: without the host, and without ECR Public's alias."""
    return repository.split("/", 1 if host.account else 2)[-1]
