"""What a registry's refusal means, and its mend; pure. The words are those that docker, skopeo and BuildKit print."""

import re

_IMMUTABLE = re.compile(
    r"\b(?:is|as|are) immutable\b|\btag immutability\b|\bImageTagAlreadyExists|"
    r"operation is disallowed on this registry, repository or image",
    re.I,
)
"""ECR ("because the tag is immutable"), Harbor ("configured as immutable"), Google, and Azure's locks."""

_MENDS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (host, re.compile(words, re.I), hint)
    for host, words, hint in (
        (
            r"ghcr\.io",
            r"permission_denied: (?:write|read)_package|installation not allowed to",
            "the package was made elsewhere, or grants this repository no access: give this repository the role Write "
            'under "Manage Actions access" in the package\'s settings, and the calling job (packages: write)',
        ),
        (
            r"ghcr\.io",
            r"permission_denied|token provided does not match expected scopes|\bdenied\b|\b403\b",
            "the calling job must have the permission (packages: write)",
        ),
        (
            r".*",
            r"toomanyrequests|\bpull rate limit\b|you have reached your .*rate limit",
            "Docker Hub's pull limit for this runner's address is used up: run the job again in an hour, sign the "
            "runner in to Docker Hub, or take base images from a mirror",
        ),
        (
            r".*",
            r"authorization token has expired|security token included in the request is expired|ExpiredToken",
            "the sign-in to AWS has expired: run the failed jobs again, for each job signs in anew",
        ),
        (
            r".*\.dkr\.ecr\..*",
            r"repository with name .* does not exist",
            "make the repository, or allow the role ecr:CreateRepository so that this workflow can",
        ),
        (
            r".*\.dkr\.ecr\..*|public\.ecr\.aws",
            r"not authorized to perform|\bdenied\b|\b403\b",
            "allow the role to push (docs/registries.md has the policy)",
        ),
        (r"docker\.io", r"incorrect username or password", "check DOCKER_USERNAME and DOCKER_REGISTRY_PASSWORD"),
        (
            r"docker\.io",
            r"insufficient scopes|\bdenied\b|\bunauthorized\b",
            "DOCKER_NAMESPACE must be the account of DOCKER_USERNAME or an organisation that it may push to, and the "
            "access token in DOCKER_REGISTRY_PASSWORD must be one that may write",
        ),
        (
            r".*(?:pkg\.dev|gcr\.io)",
            r"repository .* not found|name unknown",
            "make the Artifact Registry repository that DOCKER_NAMESPACE (project/repository) names",
        ),
        (
            r".*(?:pkg\.dev|gcr\.io)",
            r"permission .* denied|\bdenied\b|\bunauthenticated\b|\b403\b",
            "grant the service account roles/artifactregistry.writer on that repository",
        ),
        (
            r".*\.azurecr\..*",
            r"unauthorized|insufficient_scope|\bdenied\b|\b40[13]\b",
            "grant the identity the role AcrPush on that registry",
        ),
    )
)
"""Host, words and mend; the first that fits both counts."""


def is_immutable(said: str) -> bool:
    """Tell whether a registry refused because the tag may not be moved."""
    return bool(_IMMUTABLE.search(said))


def hint(said: str, registry: str) -> str | None:
    """Give what to do about a refusal that `registry` (its host) is known for; None for any other."""
    for host, words, advice in _MENDS:
        if re.fullmatch(host, registry) and words.search(said):
            return advice
    return None
