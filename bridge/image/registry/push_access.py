"""Whether the registry will accept a push, checked before anything is downloaded or built.

Sources: the OCI Distribution Specification ("Pushing blobs": an upload that is started and cancelled leaves nothing),
and CNCF Distribution's "Token Authentication Specification" and "Oauth2 Token Authentication".
"""

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.request import parse_http_list, parse_keqv_list

import httpx2

from bridge import __version__
from bridge.core import http_answers
from bridge.core.addresses import is_loopback
from bridge.core.errors import BridgeError
from bridge.core.limits import MAX_ERROR_MESSAGE, MAX_REGISTRY_ANSWER
from bridge.core.text import clean, read_json
from bridge.image import actions
from bridge.image.errors import RegistryError
from bridge.image.registry.client import Repository
from bridge.image.registry.credentials import AccessSettings, EcrHost, ecr_host
from bridge.image.registry.diagnosis import diagnose_push
from bridge.image.registry.ecr import AccessDenied, Ecr, alias_filters

_SECONDS: Final = 30.0
"""Limit of all requests of one check together."""
_DOCKER_HUB_API: Final = "registry-1.docker.io"
_CLIENT: Final = f"mlflow-actions-bridge/{__version__}"
_REFUSED: Final = (401, 403)


def check_push(repository: Repository, access: AccessSettings) -> None:
    """Raise `RegistryError` if the registry would refuse a push; ECR's repository is created if it is missing.

    Anything but a clear refusal is only logged, because the push itself will show it. Not for a dry run, which may
    create nothing.
    """
    if host := ecr_host(access.docker_registry):
        _ensure_in_ecr(repository.name, host, access)
    else:
        _start_upload(repository)


def _ensure_in_ecr(repository: str, host: EcrHost, access: AccessSettings) -> None:
    """Create the repository if it is missing: a push never creates one in ECR.

    A role that may not even describe the repository continues to the push, which succeeds if somebody created it.
    """
    # ECR's own name of a repository is without the host, and without ECR Public's alias.
    name = repository.split("/", 1 if host.account else 2)[-1]
    filters = alias_filters(access.ecr_alias_filters)
    try:
        existing, created = Ecr.connect(host).ensure(name, filters)
    except AccessDenied as error:
        actions.notice("Repository not checked", str(error))
        return
    actions.log(f"{name} {'was created' if created else 'exists'}: {existing.mutability} {' '.join(existing.filters)}")
    if filters and not created and set(existing.filters) != set(filters):
        actions.notice(
            "ecr-alias-filters not applied",
            f"{name} already exists and is {existing.mutability}, and only new repositories get the filters; change it "
            "in AWS",
        )


def _start_upload(repository: Repository) -> None:
    try:
        with _Uploads(repository) as uploads:
            uploads.check()
    except _Unknown as unknown:
        actions.log(f"{repository.name}: not checked whether a push is allowed: {unknown}")
    except (http_answers.AnswerUnreadable, httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        actions.log(
            f"{repository.name}: not checked whether a push is allowed: {type(error).__name__} {clean(str(error))}"
        )
    else:
        actions.log(f"{repository.name}: the registry accepts pushes")


class _Unknown(BridgeError):
    """The registry's answers don't show whether it accepts a push."""


class _Uploads:
    """Uploads to one repository, with the sign-in in Docker's config.json."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._host, _, self._path = repository.name.partition("/")
        local = is_loopback(f"//{self._host}")
        self._deadline = time.monotonic() + _SECONDS
        self._client = httpx2.Client(
            base_url=f"{'http' if local else 'https'}://{_DOCKER_HUB_API if self._host == 'docker.io' else self._host}",
            headers={"User-Agent": _CLIENT},
            cookies=http_answers.no_cookies(),
            limits=httpx2.Limits(max_keepalive_connections=0),  # for `ask_blocking`
            trust_env=not local,  # as Docker and skopeo, no proxy to this machine
        )

    def __enter__(self) -> "_Uploads":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def check(self) -> None:
        """Start an upload, and cancel it. Raises `RegistryError` if it is refused, `_Unknown` for any other failure."""
        # 1. Without a sign-in here, a refusal would show nothing: Docker may be signed in in its default folder.
        sign_in = self._repository.sign_in()
        if not sign_in or not (sign_in.get("auth") or sign_in.get("identitytoken")):
            raise _Unknown("Docker's config.json has no sign-in for it")
        # 2. Authenticate as Docker does: the answer to /v2/ says how.
        base = self._ask("GET", "/v2/")
        if base.status_code not in (200, 401):
            raise _Unknown(_words(base))
        challenges = base.headers.get_list("WWW-Authenticate")
        headers = {"Authorization": self._authorization(challenges, sign_in)} if challenges else {}
        # 3. Start the upload, and cancel it.
        started = self._ask("POST", f"/v2/{self._path}/blobs/uploads/", headers=headers)
        self._raise_if_refused(started)
        if started.status_code != 202:
            raise _Unknown(_words(started))
        # At the registry's own address, so that the authorization goes nowhere else.
        location = started.request.url.join(started.headers.get("Location", ""))
        cancelled = self._ask("DELETE", location.raw_path.decode(), headers=headers)
        if not cancelled.is_success:
            actions.log(f"{self._repository.name}: the registry will end the upload later ({_words(cancelled)})")

    def _authorization(self, challenges: list[str], sign_in: Mapping[str, str]) -> str:
        """Return the header for the registry's challenges. Raises as `check` does."""
        schemes = {scheme.lower(): rest for scheme, _, rest in (each.partition(" ") for each in challenges)}
        basic = f"Basic {sign_in.get('auth', '')}"
        if "bearer" not in schemes:
            return basic
        try:
            challenge = parse_keqv_list(parse_http_list(schemes["bearer"]))
            realm = httpx2.URL(challenge["realm"])
        except (ValueError, KeyError) as error:
            raise _Unknown("its challenge can't be read") from error
        if realm.scheme != "https" and not (is_loopback(str(realm)) and is_loopback(f"//{self._host}")):
            raise _Unknown("its token service has no TLS")
        wanted = {"service": challenge.get("service", ""), "scope": f"repository:{self._path}:pull,push"}
        if token := sign_in.get("identitytoken"):
            form = {**wanted, "grant_type": "refresh_token", "refresh_token": token, "client_id": _CLIENT}
            answer = self._ask("POST", realm, data=form)
        else:
            answer = self._ask("GET", realm.copy_merge_params(wanted), headers={"Authorization": basic})
        self._raise_if_refused(answer)
        try:
            tokens = read_json(answer.content)
            return f"Bearer {tokens.get('token') or tokens['access_token']}"
        except (ValueError, KeyError, AttributeError) as error:
            raise _Unknown(f"its token service returned no token ({_words(answer)})") from error

    def _raise_if_refused(self, answer: httpx2.Response) -> None:
        if answer.status_code in _REFUSED:
            # Without the name, which may contain any of the words that are searched for.
            words = _words(answer).replace(self._path, "the repository")
            diagnosis = diagnose_push(words, self._host)
            raise RegistryError(f"{self._repository.name}: {diagnosis.message} ({words})", diagnosis.hint)

    def _ask(self, method: str, url: str | httpx2.URL, **options: Any) -> httpx2.Response:
        request = self._client.build_request(method, url, **options)
        seconds = max(self._deadline - time.monotonic(), 0.1)
        return http_answers.ask_blocking(self._client, request, seconds=seconds, max_bytes=MAX_REGISTRY_ANSWER)


def _words(answer: httpx2.Response) -> str:
    """Return status and errors of an answer in one line, as Docker prints them."""
    try:
        errors = read_json(answer.content)["errors"]
        words = ", ".join(f"{error['code'].lower().replace('_', ' ')}: {error['message']}" for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        words = answer.content[:MAX_ERROR_MESSAGE].decode(errors="replace")
    return clean(f"status {answer.status_code}: {words}")[:MAX_ERROR_MESSAGE]
