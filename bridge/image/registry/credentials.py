"""Which way of signing in fits the registry's host, and what it needs; pure.

OIDC comes first wherever the registry knows it, for then nobody keeps a key that lives for years. The steps that sign
in are in .github/actions/sign-in.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bridge.image.errors import MissingSetting

DOCKER_HUB = "docker.io"
GHCR = "ghcr.io"
ECR_PUBLIC = "public.ecr.aws"
_ECR_PUBLIC_REGION = "us-east-1"
"""The only region of ECR Public's API that hands out authorization tokens ("Public registries" in ECR's guide)."""

_ECR = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z]+(?:-[a-z]+)+-[0-9]+)\."
    r"(?P<suffix>amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk"
    r"|csp\.hci\.ic\.gov)"
)
"""Hosts of private registries; the suffixes are the DNS suffixes of AWS's partitions."""
_ECR_OTHER = re.compile(
    r"(?P<account>[0-9]{12})\.(?:dkr-ecr|dkr-ecr-fips|dkr\.ecr-fips)\.(?P<region>[a-z]+(?:-[a-z]+)+-[0-9]+)\..+"
)
"""Dual-stack and FIPS hosts of the same registries: amazon-ecr-login signs in to none of them."""
_GOOGLE = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev|(?:(?:us|eu|asia)\.)?gcr\.io")
_AZURE = re.compile(r"(?P<name>[a-z0-9]{5,50}(?:-[a-z0-9]+)?)\.azurecr\.(?P<cloud>io|cn|us)")
_AZURE_CLOUDS = {"io": "azurecloud", "cn": "azurechinacloud", "us": "azureusgovernment"}
"""What azure/login calls the cloud of a registry's domain."""
_HUB_OTHER = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"})

_ID_TOKEN = "the permission (id-token: write) of the job that calls this workflow"  # noqa: S105  no secret
_USERNAME = "the variable DOCKER_USERNAME"
_PASSWORD = "the secret DOCKER_REGISTRY_PASSWORD"  # noqa: S105  the secret's name
_AWS_KEYS = "the secrets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class SignInMethod(StrEnum):
    """How to sign in; the sign-in action's steps are chosen by it."""

    NONE = "none"
    RUN_TOKEN = "run-token"  # noqa: S105  no secret
    PASSWORD = "password"  # noqa: S105  no secret
    AWS_ROLE = "aws-role"
    AWS_KEYS = "aws-keys"
    GOOGLE_IDENTITY = "google-identity"
    AZURE_IDENTITY = "azure-identity"


@dataclass(frozen=True)
class EcrHost:
    """What the host of an ECR registry tells; `account` is empty for ECR Public."""

    account: str
    region: str
    audience: str = "sts.amazonaws.com"
    """Whom GitHub's OIDC token is for; China's partition has an audience of its own."""

    @property
    def registry_type(self) -> str:
        """`private` or `public`, as amazon-ecr-login calls it."""
        return "private" if self.account else "public"


@dataclass(frozen=True)
class Given:
    """What the repository's variables and secrets give; of a secret, only whether it is set."""

    registry: str
    namespace: str = ""
    username: str = ""
    password: bool = False
    aws_role: str = ""
    aws_keys: bool = False
    google_provider: str = ""
    google_service_account: str = ""
    azure_client: str = ""
    azure_tenant: str = ""
    azure_subscription: str = ""
    id_token: bool = False
    """Whether this job may ask GitHub for an OIDC token."""
    github_com: bool = True
    """Whether the run is one of github.com's, whose own token GHCR takes."""


@dataclass(frozen=True)
class SignIn:
    """The way to sign in, and what its step must be told. Nothing in here is a secret."""

    way: SignInMethod
    username: str = ""
    account: str = ""
    region: str = ""
    registry_type: str = ""
    """`private` or `public` for ECR, else empty."""
    audience: str = ""
    """Whom the OIDC token for AWS is for."""
    name: str = ""
    """The registry's own name at Azure."""
    environment: str = ""
    """Azure's cloud."""


def choose(given: Given, *, besides: tuple[str, ...] = ()) -> SignIn:
    """Give the way that fits the host. Raises `MissingSetting`, which names all that is missing, `besides` included."""
    sign_in, missing = _kind(given.registry)(given)
    missing = [*missing, *besides]
    if missing:
        raise MissingSetting(
            f"{given.registry}: the set-up of this repository is not complete: set {', and '.join(missing)} "
            "(docs/registries.md says what for)"
        )
    return sign_in


def ecr_host(registry: str) -> EcrHost | None:
    """Give account and region of an ECR registry's host; None for any other registry's."""
    if registry == ECR_PUBLIC:
        return EcrHost("", _ECR_PUBLIC_REGION)
    found = _ECR.fullmatch(registry)
    if not found:
        return None
    audience = "sts.amazonaws.com.cn" if found["suffix"].endswith(".cn") else "sts.amazonaws.com"
    return EcrHost(found["account"], found["region"], audience)


_Choice = tuple[SignIn, list[str]]
"""A way, and what is missing for it."""


def _kind(registry: str) -> Callable[[Given], _Choice]:
    if registry == GHCR:
        return _ghcr
    if registry == DOCKER_HUB:
        return _docker_hub
    if registry in _HUB_OTHER:
        return _hub_other
    if ecr_host(registry):
        return _ecr
    if _ECR_OTHER.fullmatch(registry):
        return _ecr_other
    if _GOOGLE.fullmatch(registry):
        return _google
    return _azure if _AZURE.fullmatch(registry) else _other


def _ghcr(given: Given) -> _Choice:
    if given.github_com and not given.password:
        return SignIn(SignInMethod.RUN_TOKEN), []
    return _with_password(given)


def _docker_hub(given: Given) -> _Choice:
    sign_in, missing = _with_password(given)
    return sign_in, missing + ([] if given.namespace or given.username else ["the variable DOCKER_NAMESPACE"])


def _hub_other(given: Given) -> _Choice:
    return SignIn(SignInMethod.NONE), [
        f"the variable DOCKER_REGISTRY to {DOCKER_HUB}, by which images are pulled, not to {given.registry}"
    ]


def _ecr(given: Given) -> _Choice:
    host = ecr_host(given.registry)
    assert host  # noqa: S101  _kind has asked
    way = SignInMethod.AWS_ROLE if given.aws_role and given.id_token else SignInMethod.AWS_KEYS
    sign_in = SignIn(
        way, account=host.account, region=host.region, registry_type=host.registry_type, audience=host.audience
    )
    missing = [] if given.namespace or host.account else ["the variable DOCKER_NAMESPACE (the registry's alias)"]
    if way is SignInMethod.AWS_ROLE or given.aws_keys:
        return sign_in, missing
    if given.aws_role:
        return sign_in, [f"{_ID_TOKEN} (or {_AWS_KEYS})", *missing]
    role = "the variable AWS_ROLE_TO_ASSUME" + ("" if given.id_token else f" with {_ID_TOKEN}")
    return sign_in, [f"{role} (or {_AWS_KEYS})", *missing]


def _ecr_other(given: Given) -> _Choice:
    found = _ECR_OTHER.fullmatch(given.registry)
    assert found  # noqa: S101  _kind has asked
    plain = f"{found['account']}.dkr.ecr.{found['region']}.amazonaws.com"
    return SignIn(SignInMethod.NONE), [f"the variable DOCKER_REGISTRY to the registry's first host, such as {plain}"]


def _google(given: Given) -> _Choice:
    missing = [] if given.namespace else [f"the variable DOCKER_NAMESPACE ({_google_namespace(given.registry)})"]
    identity = {
        "the variable GOOGLE_WORKLOAD_IDENTITY_PROVIDER": bool(given.google_provider),
        "the variable GOOGLE_SERVICE_ACCOUNT": bool(given.google_service_account),
        _ID_TOKEN: given.id_token,
    }
    if all(identity.values()):
        return SignIn(SignInMethod.GOOGLE_IDENTITY), missing
    if given.password:
        return SignIn(SignInMethod.PASSWORD, username=given.username or "_json_key"), missing
    lacking = [name for name, there in identity.items() if not there]
    return SignIn(SignInMethod.GOOGLE_IDENTITY), [
        _either(lacking, f"{_PASSWORD}, with a service account's key"),
        *missing,
    ]


def _google_namespace(registry: str) -> str:
    return "project" if registry.endswith("gcr.io") else "project/repository"


def _azure(given: Given) -> _Choice:
    found = _AZURE.fullmatch(given.registry)
    assert found  # noqa: S101  _kind has asked
    identity = {
        "the variable AZURE_CLIENT_ID": bool(given.azure_client),
        "the variable AZURE_TENANT_ID": bool(given.azure_tenant),
        "the variable AZURE_SUBSCRIPTION_ID": bool(given.azure_subscription),
        _ID_TOKEN: given.id_token,
    }
    sign_in = SignIn(SignInMethod.AZURE_IDENTITY, name=found["name"], environment=_AZURE_CLOUDS[found["cloud"]])
    lacking = [name for name, there in identity.items() if not there]
    if not lacking:
        return sign_in, []
    if given.password and given.username:
        return _with_password(given)
    return sign_in, [_either(lacking, f"{_USERNAME} and {_PASSWORD}")]


def _other(given: Given) -> _Choice:
    """Sign in where there is a user or a password; a registry on one's own network may ask for neither."""
    return _with_password(given) if given.password or given.username else (SignIn(SignInMethod.NONE), [])


def _with_password(given: Given) -> _Choice:
    needed = {_USERNAME: bool(given.username), _PASSWORD: given.password}
    return SignIn(SignInMethod.PASSWORD, username=given.username), [name for name, there in needed.items() if not there]


def _either(lacking: list[str], fallback: str) -> str:
    return f"{', '.join(lacking)} (or {fallback})"
