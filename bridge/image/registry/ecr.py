"""Amazon ECR's repositories: a push never makes one, so one is made before it.

Signed in to as the environment says, where configure-aws-credentials puts the role's keys. By botocore: it is AWS's
own, knows every partition's endpoints, and costs a runner half a second where the `aws` program may be missing.
"""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bridge.image.errors import InvalidInput, RegistryError
from bridge.image.registry.credentials import EcrHost

MUTABLE = "MUTABLE"
IMMUTABLE = "IMMUTABLE"
EXCEPT = "_WITH_EXCLUSION"
_FILTER = re.compile(r"[0-9a-zA-Z._*-]{1,128}")
_FILTERS, _WILDCARDS = 5, 2
"""At most five filters with two wildcards each ("Preventing image tags from being overwritten" in ECR's guide)."""
_TIMEOUT, _ATTEMPTS = 30.0, 5
_DENIED = ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation")


class AccessDenied(RegistryError):
    """The role may not do that; whether the repository is there, nobody can say."""


@dataclass(frozen=True)
class EcrRepository:
    """A repository as ECR describes it; `filters` are the wildcards of the tags that its mutability excepts."""

    name: str
    mutability: str
    filters: tuple[str, ...] = ()
    scan_on_push: bool = False

    def moves(self, tag: str) -> bool:
        """Tell whether a tag that is there may be moved to another image."""
        excepted = any(fnmatch.fnmatchcase(tag, each) for each in self.filters)
        return self.mutability.startswith(MUTABLE) != excepted


def alias_filters(text: str) -> tuple[str, ...]:
    """Read the input `ecr-alias-filters`: wildcards between blanks or commas. Raises `InvalidInput`."""
    filters = tuple(dict.fromkeys(each for each in re.split(r"[\s,]+", text) if each))
    wrong = [each for each in filters if not _FILTER.fullmatch(each) or each.count("*") > _WILDCARDS]
    if wrong or len(filters) > _FILTERS:
        raise InvalidInput(
            f"ecr-alias-filters {text[:80]!r} is nothing that ECR takes: give at most {_FILTERS} filters of letters, "
            f"digits and . _ - with at most {_WILDCARDS} * each, such as champion challenger-*"
        )
    return filters


class Ecr:
    """The repositories of one private registry, or of ECR Public where the host names no account."""

    def __init__(self, host: EcrHost, client: Any) -> None:
        self._host = host
        self._client = client

    @classmethod
    def connect(cls, host: EcrHost) -> "Ecr":
        """Give the API of the host's region; nothing is asked yet. Raises `RegistryError` without botocore."""
        try:
            from botocore.config import Config
            from botocore.session import get_session
        except ImportError as error:
            raise RegistryError(
                "botocore is not installed, so ECR can't be asked: install the extra mlflow-actions-bridge[image]"
            ) from error
        config = Config(
            connect_timeout=_TIMEOUT,
            read_timeout=_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        service = "ecr" if host.account else "ecr-public"
        return cls(host, get_session().create_client(service, region_name=host.region, config=config))

    def ensure(self, name: str, filters: Sequence[str] = ()) -> tuple[EcrRepository, bool]:
        """Give the repository, made where it is missing, and whether it was. One that is there is left as it is.

        Made with scan-on-push; tags move, or with `filters` none but those that they fit. Raises `AccessDenied`, and
        `RegistryError` for any other failure.
        """
        if found := self.describe(name):
            return found, False
        with self._errors(name, "ecr:CreateRepository"):
            try:
                said = self._client.create_repository(**self._asked(name, filters))
            except self._client.exceptions.RepositoryAlreadyExistsException:  # another run was faster
                said = None
        if said:
            return _read(said["repository"]), True
        if found := self.describe(name):
            return found, False
        raise RegistryError(f"{name}: ECR says both that it is there and that it isn't: run the job again")

    def describe(self, name: str) -> EcrRepository | None:
        """Give the repository; None where there is none. Raises `RegistryError`."""
        with self._errors(name, "ecr:DescribeRepositories"):
            try:
                said = self._client.describe_repositories(**self._registry(), repositoryNames=[name])
            except self._client.exceptions.RepositoryNotFoundException:
                return None
        return _read(said["repositories"][0]) if said["repositories"] else None

    def _asked(self, name: str, filters: Sequence[str]) -> dict[str, Any]:
        if not self._host.account:  # ECR Public knows neither
            return {"repositoryName": name}
        excluded = [{"filterType": "WILDCARD", "filter": each} for each in filters]
        return {
            **self._registry(),
            "repositoryName": name,
            "imageScanningConfiguration": {"scanOnPush": True},
            "imageTagMutability": IMMUTABLE + EXCEPT if excluded else MUTABLE,
            **({"imageTagMutabilityExclusionFilters": excluded} if excluded else {}),
        }

    def _registry(self) -> dict[str, str]:
        return {"registryId": self._host.account} if self._host.account else {}

    @contextmanager
    def _errors(self, name: str, action: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            code, message = said.get("Code", "unknown"), " ".join(str(said.get("Message", "")).split())[:300]
            kind = AccessDenied if code in _DENIED else RegistryError
            raise kind(f"{name}: ECR refused ({code}: {message}): {_mend(code, action)}") from error
        except BotoCoreError as error:
            raise RegistryError(
                f"{name}: ECR can't be asked ({' '.join(str(error).split())[:300]}): "
                "check AWS_ROLE_TO_ASSUME or the static keys, then run the job again"
            ) from error


def _read(said: dict[str, Any]) -> EcrRepository:
    filters = said.get("imageTagMutabilityExclusionFilters") or []
    return EcrRepository(
        said["repositoryName"],
        said.get("imageTagMutability", MUTABLE),
        tuple(each["filter"] for each in filters),
        bool(said.get("imageScanningConfiguration", {}).get("scanOnPush", False)),
    )


def _mend(code: str, action: str) -> str:
    if code in _DENIED:
        return f"allow the role {action}, or make the repository yourself"
    if "Expired" in code:
        return "the sign-in to AWS has expired: run the failed jobs again, for each job signs in anew"
    if code in ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException"):
        return "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if code == "LimitExceededException":
        return "delete repositories that nobody needs, or ask AWS for a higher quota"
    return "run the job again when ECR is well"
