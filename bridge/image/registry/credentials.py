"""How to sign in to a registry, and the settings that this needs: a table with one row per kind of registry.

OIDC comes first wherever the registry supports it, because then no long-lived key is stored anywhere. The steps that
sign in are in .github/actions/sign-in.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bridge.image.errors import MissingSetting

GHCR = "ghcr.io"
_GITHUB = "https://github.com"


class AccessSettings(BaseSettings):
    """The environment of the steps that sign in. Of a secret, it holds only whether it is set.

    A field's description says what a person sets; the message about missing settings consists of these descriptions.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="ignore")

    docker_registry: str = GHCR
    docker_namespace: str = Field(default="", description="the variable DOCKER_NAMESPACE")
    docker_username: str = Field(default="", description="the variable DOCKER_USERNAME")
    has_password: bool = Field(default=False, description="the secret DOCKER_REGISTRY_PASSWORD")
    has_aws_keys: bool = Field(default=False, description="the secrets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    aws_role_to_assume: str = Field(default="", description="the variable AWS_ROLE_TO_ASSUME")
    google_workload_identity_provider: str = Field(
        default="", description="the variable GOOGLE_WORKLOAD_IDENTITY_PROVIDER"
    )
    google_service_account: str = Field(default="", description="the variable GOOGLE_SERVICE_ACCOUNT")
    azure_client_id: str = Field(default="", description="the variable AZURE_CLIENT_ID")
    azure_tenant_id: str = Field(default="", description="the variable AZURE_TENANT_ID")
    azure_subscription_id: str = Field(default="", description="the variable AZURE_SUBSCRIPTION_ID")
    dockerhub_oidc_connectionid: str = Field(default="", description="the variable DOCKERHUB_OIDC_CONNECTIONID")
    actions_id_token_request_url: str = Field(
        default="", description="the permission 'id-token: write' of the calling job"
    )
    """The runner sets it if the job may request an OIDC token."""
    has_mlflow: bool = Field(default=True, description="the variable or secret MLFLOW_TRACKING_URI")
    """Not needed to sign in, but one message names everything that is missing."""
    github_server_url: str = _GITHUB
    ecr_alias_filters: str = ""

    @property
    def on_enterprise_server(self) -> bool:
        """Whether this is not github.com, the only GitHub whose tokens GHCR accepts."""
        return self.github_server_url != _GITHUB


class SignInMethod(StrEnum):
    """How to sign in; the sign-in action's steps are chosen by it."""

    NONE = "none"
    RUN_TOKEN = "run-token"  # noqa: S105  no secret
    PASSWORD = "password"  # noqa: S105  no secret
    DOCKER_HUB_IDENTITY = "docker-hub-identity"
    AWS_ROLE = "aws-role"
    AWS_KEYS = "aws-keys"
    GOOGLE_IDENTITY = "google-identity"
    AZURE_IDENTITY = "azure-identity"


@dataclass(frozen=True)
class SignIn:
    """The chosen method, with the inputs of its steps. Nothing in here is a secret."""

    method: SignInMethod
    username: str = ""
    account: str = ""
    """AWS account of a private ECR registry."""
    region: str = ""
    registry_type: str = ""
    """`private` or `public` for ECR, as amazon-ecr-login calls it; else empty."""
    audience: str = ""
    """Audience of the OIDC token for AWS."""
    name: str = ""
    """Name of an Azure registry."""
    environment: str = ""
    """Azure's cloud, as azure/login calls it."""

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the step, by name."""
        values = asdict(self)
        return {"way": str(values.pop("method"))} | {name.replace("_", "-"): value for name, value in values.items()}


@dataclass(frozen=True)
class _Option:
    """One way to sign in. The names are fields of `AccessSettings`."""

    method: SignInMethod
    needs: tuple[str, ...] = ()
    """All of them must be set."""
    unless: tuple[str, ...] = ()
    """None of them may be set."""
    username: str = ""
    """The user if DOCKER_USERNAME isn't set."""


@dataclass(frozen=True)
class _Registry:
    """One kind of registry: the pattern of its hosts, and the ways to sign in, the preferred one first."""

    host: str
    options: tuple[_Option, ...] = ()
    needs: tuple[str, ...] = ()
    """Fields that must be set whichever option is used."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """A field's meaning for this registry, for the message that it is missing."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Values of `SignIn`, beside the pattern's groups."""
    use_host: str = ""
    """If such hosts are refused: the host to use instead, in which `{…}` stands for a group of the pattern."""


_PASSWORD = _Option(SignInMethod.PASSWORD, needs=("docker_username", "has_password"))
_ID_TOKEN = "actions_id_token_request_url"  # noqa: S105  the name of a field
_HUB = (
    # docker/login-action itself requests the token, but only without a password.
    _Option(
        SignInMethod.DOCKER_HUB_IDENTITY,
        needs=("docker_username", "dockerhub_oidc_connectionid", _ID_TOKEN),
        unless=("has_password",),
    ),
    _PASSWORD,
)
_AWS = (
    _Option(SignInMethod.AWS_ROLE, needs=("aws_role_to_assume", _ID_TOKEN)),
    _Option(SignInMethod.AWS_KEYS, needs=("has_aws_keys",)),
)
_GOOGLE = (
    _Option(
        SignInMethod.GOOGLE_IDENTITY, needs=("google_workload_identity_provider", "google_service_account", _ID_TOKEN)
    ),
    _Option(SignInMethod.PASSWORD, needs=("has_password",), username="_json_key"),
)
_AZURE = (
    _Option(
        SignInMethod.AZURE_IDENTITY, needs=("azure_client_id", "azure_tenant_id", "azure_subscription_id", _ID_TOKEN)
    ),
    _PASSWORD,
)
_ECR_ACCOUNT = r"(?P<account>[0-9]{12})\."
_AWS_REGION = r"(?P<region>[a-z]+(?:-[a-z]+)+-[0-9]+)\."
_AZURE_NAME = r"(?P<name>[a-z0-9]{5,50}(?:-[a-z0-9]+)?)\.azurecr\."
_SERVICE_ACCOUNT_KEY = {"has_password": "a service account's key"}

_REGISTRIES = (
    _Registry(
        r"ghcr\.io",
        (_Option(SignInMethod.RUN_TOKEN, unless=("has_password", "on_enterprise_server")), _PASSWORD),
    ),
    _Registry(r"docker\.io", _HUB, notes={"docker_username": "for OIDC: the organization"}),
    _Registry(
        # Images are not pulled by these hosts.
        r"index\.docker\.io|registry-1\.docker\.io|registry\.hub\.docker\.com|hub\.docker\.com",
        use_host="docker.io",
    ),
    _Registry(
        # The DNS suffixes of AWS's partitions.
        rf"{_ECR_ACCOUNT}dkr\.ecr\.{_AWS_REGION}(?:amazonaws\.com|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov"
        r"|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)",
        _AWS,
        outputs={"registry_type": "private", "audience": "sts.amazonaws.com"},
    ),
    _Registry(
        rf"{_ECR_ACCOUNT}dkr\.ecr\.{_AWS_REGION}amazonaws\.com\.cn",
        _AWS,
        outputs={"registry_type": "private", "audience": "sts.amazonaws.com.cn"},
    ),
    _Registry(
        # Dual-stack and FIPS hosts of the same registries: amazon-ecr-login can't sign in to them.
        rf"{_ECR_ACCOUNT}(?:dkr-ecr|dkr-ecr-fips|dkr\.ecr-fips)\.{_AWS_REGION}.+",
        use_host="{account}.dkr.ecr.{region}.amazonaws.com",
    ),
    _Registry(
        r"public\.ecr\.aws",
        _AWS,
        needs=("docker_namespace",),
        notes={"docker_namespace": "the registry's alias"},
        # Only this region's API issues tokens for ECR Public ("Public registries" in ECR's guide).
        outputs={"registry_type": "public", "region": "us-east-1", "audience": "sts.amazonaws.com"},
    ),
    _Registry(
        r"[a-z0-9-]+-docker\.pkg\.dev",
        _GOOGLE,
        needs=("docker_namespace",),
        notes={"docker_namespace": "project/repository", **_SERVICE_ACCOUNT_KEY},
    ),
    _Registry(
        r"(?:(?:us|eu|asia)\.)?gcr\.io",
        _GOOGLE,
        needs=("docker_namespace",),
        notes={"docker_namespace": "project", **_SERVICE_ACCOUNT_KEY},
    ),
    _Registry(rf"{_AZURE_NAME}io", _AZURE, outputs={"environment": "azurecloud"}),
    _Registry(rf"{_AZURE_NAME}cn", _AZURE, outputs={"environment": "azurechinacloud"}),
    _Registry(rf"{_AZURE_NAME}us", _AZURE, outputs={"environment": "azureusgovernment"}),
    # Any other registry; one in a private network may allow everybody to read and write.
    _Registry(r"(?s:.*)", (_Option(SignInMethod.NONE, unless=("docker_username", "has_password")), _PASSWORD)),
)
"""The first row whose pattern matches the whole host counts."""


def choose_sign_in(access: AccessSettings) -> SignIn:
    """Return the first way to sign in that has all it needs.

    Raises `MissingSetting`, which names all that is missing.
    """
    registry, groups = _registry(access.docker_registry)
    options = [
        (option, _missing(access, option.needs, registry))
        for option in registry.options
        if not any(getattr(access, name) for name in option.unless)
    ]
    chosen = next((option for option, missing in options if not missing), None)
    missing = []
    if registry.use_host:
        missing = [f"the variable DOCKER_REGISTRY to {registry.use_host.format(**groups)}"]
    elif chosen is None:
        missing = [" (or ".join(", ".join(names) for _, names in options) + ")" * (len(options) - 1)]
    missing += _missing(access, (*registry.needs, "has_mlflow"), registry)
    if missing or chosen is None:
        raise MissingSetting(
            f"{access.docker_registry}: the sign-in is not configured",
            f"set {', and '.join(missing)} (see docs/registries.md)",
        )
    if chosen.method in (SignInMethod.PASSWORD, SignInMethod.DOCKER_HUB_IDENTITY):
        return SignIn(chosen.method, username=access.docker_username or chosen.username)
    return SignIn(chosen.method, **registry.outputs, **groups)


def _registry(host: str) -> tuple[_Registry, dict[str, str]]:
    """Return the row for `host`, and the groups of its pattern."""
    return next(
        (registry, match.groupdict()) for registry in _REGISTRIES if (match := re.fullmatch(registry.host, host))
    )


def _missing(access: AccessSettings, names: Iterable[str], registry: _Registry) -> list[str]:
    return [
        f"{AccessSettings.model_fields[name].description}"
        + (f" ({note})" if (note := registry.notes.get(name)) else "")
        for name in names
        if not getattr(access, name)
    ]


@dataclass(frozen=True)
class EcrHost:
    """Account and region of an ECR registry; the account is empty for ECR Public."""

    account: str
    region: str


def ecr_host(host: str) -> EcrHost | None:
    """Return account and region of an ECR registry's host; None for any other host."""
    registry, groups = _registry(host)
    if "registry_type" not in registry.outputs:
        return None
    return EcrHost(groups.get("account", ""), groups.get("region") or registry.outputs["region"])
