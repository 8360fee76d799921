"""Steps "sign-in" and "create-repository": how to sign in to the registry, and the model's repository in ECR."""

from dataclasses import asdict

from pydantic_settings import BaseSettings, SettingsConfigDict

from bridge.image import actions
from bridge.image.errors import RegistryError
from bridge.image.registry.credentials import Given, SignIn, choose, ecr_host
from bridge.image.registry.ecr import AccessDenied, Ecr, alias_filters
from bridge.image.settings import GHCR

_GITHUB = "https://github.com"


class AccessSettings(BaseSettings):
    """The settings of these two steps. Of each secret they only know whether it is set."""

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
    """The runner sets it if the job may request an OIDC token (`id-token: write`)."""
    github_server_url: str = _GITHUB
    ecr_alias_filters: str = ""

    def given(self) -> Given:
        """Return these settings as the choice takes them."""
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
    """Set the outputs that select the sign-in action's steps. Raises `MissingSetting`, `InvalidInput`."""
    alias_filters(settings.ecr_alias_filters)
    besides = () if settings.has_mlflow else ("the variable or secret MLFLOW_TRACKING_URI",)
    chosen = choose(settings.given(), besides=besides)
    actions.say(f"{settings.docker_registry}: signing in with {chosen.way}")
    for name, value in outputs(chosen).items():
        actions.output(name, value)


def sign_in_failed(settings: AccessSettings) -> None:
    """Explain why the registry may have rejected the sign-in. Always raises `RegistryError`."""
    user = choose(settings.given()).username
    raise RegistryError(
        f"{settings.docker_registry}: the sign-in as {user} failed",
        "check DOCKER_USERNAME and DOCKER_REGISTRY_PASSWORD; the previous step's log has the registry's answer",
    )


def outputs(chosen: SignIn) -> dict[str, str]:
    """Return the outputs of the step, by name."""
    return {name.replace("_", "-"): str(value) for name, value in asdict(chosen).items()}


def create_repository(settings: AccessSettings, repository: str) -> None:
    """Create the repository if it is missing in ECR; other registries create it at the push.

    Raises `RegistryError` if ECR refuses. A role that may not even read repositories is only noted: the push decides.
    """
    host = ecr_host(settings.docker_registry)
    if host is None:
        return
    # ECR names a repository without the host, and without the alias of a public registry.
    name = repository.split("/", 1 if host.account else 2)[-1]
    filters = alias_filters(settings.ecr_alias_filters)
    try:
        existing, created = Ecr.connect(host).ensure(name, filters)
    except AccessDenied as error:
        actions.notice("Repository not checked", str(error))
        return
    state = "created" if created else "already exists"
    actions.say(f"{name} {state}: {existing.mutability} {' '.join(existing.filters)}")
    if filters and not created and set(existing.filters) != set(filters):
        actions.notice(
            "ecr-alias-filters not applied",
            f"{name} already exists and is {existing.mutability}; change the setting of an existing repository in AWS",
        )
