"""Amazon ECR's repositories: a push never creates one, so one is created before it.

Uses the credentials in the environment, where configure-aws-credentials puts the role's keys. By botocore, which knows
the endpoints of every partition, and costs a runner half a second; the `aws` program may be missing there.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bridge.image.errors import InvalidInput, RegistryError
from bridge.image.registry.credentials import EcrHost

_FILTER = re.compile(r"[0-9a-zA-Z._*-]{1,128}")
_FILTERS, _WILDCARDS = 5, 2
"""At most five filters with two wildcards each ("Preventing image tags from being overwritten" in ECR's guide)."""
_SECONDS = 10
"""Seconds without a byte, for each of a request's attempts."""
_DENIED = ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation")
_EXPIRED = "re-run the failed jobs: each job signs in again"
_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_HINTS = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "UnrecognizedClientException": _KEYS,
    "InvalidClientTokenId": _KEYS,
    "InvalidSignatureException": _KEYS,
    "LimitExceededException": "delete unused repositories, or request a higher quota from AWS",
}
"""By AWS's error code."""


class AccessDenied(RegistryError):
    """The role may not make this request; the repository may or may not exist."""


@dataclass(frozen=True)
class EcrRepository:
    """A repository's tag mutability as ECR names it, and the wildcards of the tags that are excluded from it."""

    mutability: str
    filters: tuple[str, ...] = ()


def alias_filters(text: str) -> tuple[str, ...]:
    """Read the input `ecr-alias-filters`: wildcards separated by blanks or commas. Raises `InvalidInput`."""
    filters = tuple(dict.fromkeys(re.findall(r"[^\s,]+", text)))
    valid = all(_FILTER.fullmatch(wildcard) and wildcard.count("*") <= _WILDCARDS for wildcard in filters)
    if not valid or len(filters) > _FILTERS:
        raise InvalidInput(
            f"ecr-alias-filters {text[:80]!r} is not valid for ECR",
            f"use at most {_FILTERS} filters of letters, digits and . _ - with at most {_WILDCARDS} * each, such as "
            "champion challenger-*",
        )
    return filters


class Ecr:
    """The repositories of one private registry, or of ECR Public if the host has no account."""

    def __init__(self, host: EcrHost, client: Any) -> None:
        self._registry = {"registryId": host.account} if host.account else {}
        self._client = client

    @classmethod
    def connect(cls, host: EcrHost) -> "Ecr":
        """Return the API of the host's region, without a request. Raises `RegistryError` if botocore isn't installed.

        AWS's own variables set how often botocore tries (`AWS_MAX_ATTEMPTS` and others).
        """
        try:
            from botocore.config import Config
            from botocore.session import get_session
        except ImportError as error:
            raise RegistryError("botocore is not installed", "install mlflow-actions-bridge[image]") from error
        service, timeouts = (
            "ecr" if host.account else "ecr-public",
            Config(connect_timeout=_SECONDS, read_timeout=_SECONDS),
        )
        return cls(host, get_session().create_client(service, region_name=host.region, config=timeouts))

    def ensure(self, name: str, filters: Sequence[str] = ()) -> tuple[EcrRepository, bool]:
        """Return the repository, and whether it was created now; an existing one isn't changed.

        A new one has scan-on-push. Its tags can be moved; with `filters`, only tags that match one of them.
        Raises `AccessDenied`, and `RegistryError` for any other failure.
        """
        # Not the other way round: a role without ecr:CreateRepository can use repositories that somebody created.
        if existing := self.describe(name):
            return existing, False
        with self._errors(name):
            try:
                answer = self._client.create_repository(**self._request(name, filters))
                return _read(answer["repository"]), True
            except self._client.exceptions.RepositoryAlreadyExistsException:
                pass  # another run was faster
        if existing := self.describe(name):
            return existing, False
        raise RegistryError(f"{name}: the repository was deleted right after it was created", "re-run the job")

    def describe(self, name: str) -> EcrRepository | None:
        """Return the repository; None if it doesn't exist. Raises as `ensure` does."""
        with self._errors(name):
            try:
                answer = self._client.describe_repositories(**self._registry, repositoryNames=[name])
            except self._client.exceptions.RepositoryNotFoundException:
                return None
        return _read(answer["repositories"][0]) if answer["repositories"] else None

    def _request(self, name: str, filters: Sequence[str]) -> dict[str, Any]:
        if not self._registry:  # ECR Public has neither scans nor immutable tags
            return {"repositoryName": name}
        request: dict[str, Any] = {
            **self._registry,
            "repositoryName": name,
            "imageScanningConfiguration": {"scanOnPush": True},
            "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION" if filters else "MUTABLE",
        }
        if filters:
            exclusions = [{"filterType": "WILDCARD", "filter": wildcard} for wildcard in filters]
            request["imageTagMutabilityExclusionFilters"] = exclusions
        return request

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code, message = (
                error.response.get("Error", {}).get("Code", ""),
                f"{name}: {' '.join(str(error).split())[:300]}",
            )
            if code in _DENIED:
                action = f"{self._client.meta.service_model.service_name}:{error.operation_name}"
                raise AccessDenied(message, f"grant the role {action}, or create the repository yourself") from error
            raise RegistryError(message, _HINTS.get(code, "re-run the job later")) from error
        except BotoCoreError as error:
            raise RegistryError(
                f"{name}: ECR did not respond ({' '.join(str(error).split())[:300]})",
                "check AWS_ROLE_TO_ASSUME or the static keys, then re-run the job",
            ) from error


def _read(repository: dict[str, Any]) -> EcrRepository:
    return EcrRepository(
        repository.get("imageTagMutability", "MUTABLE"),
        tuple(exclusion["filter"] for exclusion in repository.get("imageTagMutabilityExclusionFilters", ())),
    )
