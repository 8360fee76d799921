"""The meaning of a registry's refusal, and its fix: a table of the messages of docker, skopeo and BuildKit."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """What happened, and what to do, as in an error."""

    message: str
    hint: str


_IMMUTABLE = re.compile(
    r"\b(?:is|as|are) immutable\b|\btag immutability\b|\bImageTagAlreadyExists|"
    r"operation is disallowed on this registry, repository or image",
    re.I,
)
"""ECR ("because the tag is immutable"), Harbor ("configured as immutable"), Google, and Azure's locks."""

_GHCR = r"ghcr\.io"
_HUB = r"docker\.io"
_ECR = r".*\.dkr\.ecr\..*"
_GOOGLE = r".*(?:pkg\.dev|gcr\.io)"
_AZURE = r".*\.azurecr\..*"

_DIAGNOSES = (
    (
        _GHCR,
        r"permission_denied: (?:write|read)_package|installation not allowed to",
        "the package doesn't grant this repository access",
        'give this repository the role Write under "Manage Actions access" in the package\'s settings, and the calling '
        "job the permission 'packages: write'",
    ),
    (
        _GHCR,
        r"permission_denied|token provided does not match expected scopes|\bdenied\b|\b403\b",
        "GHCR denied access",
        "give the calling job the permission 'packages: write'",
    ),
    (
        r".*",
        r"toomanyrequests|\bpull rate limit\b|you have reached your .*rate limit",
        "Docker Hub's pull limit for this runner's address is exceeded",
        "re-run the job in an hour, sign the runner in to Docker Hub, or pull base images from a mirror",
    ),
    (
        r".*",
        r"authorization token has expired|security token included in the request is expired|ExpiredToken",
        "the sign-in to AWS has expired",
        "re-run the failed jobs: each job signs in again",
    ),
    (
        _ECR,
        r"repository with name .* does not exist",
        "the repository doesn't exist",
        "create it, or grant the role ecr:CreateRepository so that the workflow can create it",
    ),
    (
        rf"{_ECR}|public\.ecr\.aws",
        r"not authorized to perform|\bdenied\b|\b403\b",
        "ECR denied access",
        "grant the role the permissions in docs/registries.md",
    ),
    (
        _HUB,
        r"incorrect username or password",
        "Docker Hub refused the sign-in",
        "check DOCKER_USERNAME and DOCKER_REGISTRY_PASSWORD",
    ),
    (
        _HUB,
        r"insufficient scopes|\bdenied\b|\bunauthorized\b",
        "Docker Hub denied access",
        "set DOCKER_NAMESPACE to the account of DOCKER_USERNAME or to an organisation that it may push to, and "
        "DOCKER_REGISTRY_PASSWORD to an access token that may write",
    ),
    (
        _GOOGLE,
        r"repository .* not found|name unknown",
        "the Artifact Registry repository doesn't exist",
        "create the repository that DOCKER_NAMESPACE (project/repository) names",
    ),
    (
        _GOOGLE,
        r"permission .* denied|\bdenied\b|\bunauthenticated\b|\b403\b",
        "Google's registry denied access",
        "grant the service account roles/artifactregistry.writer on the repository",
    ),
    (
        _AZURE,
        r"unauthorized|insufficient_scope|\bdenied\b|\b40[13]\b",
        "Azure's registry denied access",
        "grant the identity the role AcrPush on the registry",
    ),
)
"""Pattern of the host, pattern of the words, message and hint; the first row that matches counts."""


_PUSH_FAILED = Diagnosis("the push failed", "check that the registry's user may push there, then re-run the job")


def is_immutable(answer: str) -> bool:
    """Whether a registry refused because the tag may not be moved."""
    return bool(_IMMUTABLE.search(answer))


def diagnose(answer: str, host: str) -> Diagnosis | None:
    """Return what an answer of the registry at `host` means; None if it is unknown."""
    for host_pattern, phrases, message, hint in _DIAGNOSES:
        if re.fullmatch(host_pattern, host) and re.search(phrases, answer, re.I):
            return Diagnosis(message, hint)
    return None


def diagnose_push(answer: str, host: str) -> Diagnosis:
    """Return what the answer of the registry at `host` to a push means."""
    return diagnose(answer, host) or _PUSH_FAILED
