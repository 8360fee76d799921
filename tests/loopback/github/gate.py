"""GitHub's checks of each request: token, permissions, rate limits; with its error messages.

Source: GitHub's documents "Troubleshooting the REST API", "Rate limits for the REST API", "Permissions required for
fine-grained personal access tokens" and "API Versions".
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from bridge.core.errors import BridgeError
from tests.loopback.github.limits import Meter
from tests.loopback.github.runs import Clock

if TYPE_CHECKING:
    from tests.loopback.github.apps import App

DOCS = "https://docs.github.com/rest"
VERSIONS = ("2022-11-28", "2026-03-10")
"""The supported API versions; the first is the default."""

_QUOTA = "/rate_limit"
_FOR_APPS = re.compile(r"/app/.*|/repos/[^/]+/[^/]+/installation")
"""The paths for an App's JWT."""

_RANKS = {"read": 1, "write": 2}
_NO_AGENT = (
    "\r\nRequest forbidden by administrative rules. Please make sure your request has a User-Agent header "
    "(https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). "
    "Check https://developer.github.com for other possible causes.\r\n"
)


class ApiError(BridgeError):
    """A rejected request, with status, message and headers."""

    def __init__(
        self, status: int, message: str, docs: str = DOCS, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, **fields, "documentation_url": docs, "status": str(status)}
        self.headers = dict(headers or {})

    def answer(self) -> Response:
        """Return GitHub's answer."""
        return JSONResponse(self.body, self.status, self.headers)


@dataclass(frozen=True)
class Credential:
    """A fine-grained personal access token."""

    token: str = field(repr=False)
    permissions: Mapping[str, str]
    """`read` or `write` by permission, as `{"contents": "write"}`; with none, the repository is invisible."""
    expires: datetime | None = None


class Gate:
    """Checks each request, and adds GitHub's headers to each answer."""

    def __init__(
        self, credential: Credential, meter: Meter, clock: Clock, app: "App | None" = None, enterprise: str = ""
    ) -> None:
        self._credential = credential
        self._app = app
        self._enterprise = enterprise
        self._meter = meter
        self._clock = clock

    def admit(self, request: Request) -> Response | None:
        """Return the error of a request that reaches no endpoint, or None."""
        if not request.headers.get("user-agent"):
            return PlainTextResponse(_NO_AGENT, 403)
        try:
            self._accept(request)
            self._sign_in(request)
            if request.url.path != _QUOTA:
                self._pay()
        except ApiError as error:
            return error.answer()
        return None

    def permit(self, permission: str, access: str) -> None:
        """Raise `ApiError` unless the token has this permission on the repository."""
        held = self._credential.permissions
        if not held:
            raise ApiError(404, "Not Found")
        if _RANKS.get(held.get(permission, ""), 0) < _RANKS[access]:
            raise ApiError(
                403,
                "Resource not accessible by personal access token",
                headers={"X-Accepted-GitHub-Permissions": f"{permission}={access}"},
            )

    def create(self) -> None:
        """Count a request that creates content; raise `ApiError` if there were too many."""
        if wait := self._meter.create(self._clock()):
            raise ApiError(
                403,
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
                "If you reach out to GitHub Support for help, please include the request ID.",
                f"{DOCS}/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits",
                {"Retry-After": str(wait)},
            )

    def seal(self, request: Request, response: Response) -> Response:
        """Count the request, unless it is free, and add the headers about quota and token."""
        now = self._clock()
        response.headers["date"] = format_datetime(now.astimezone(UTC), usegmt=True)
        if response.status_code != 304 and request.url.path != _QUOTA:
            self._meter.count(now)
        for name, value in self._meter.quota(now).items():
            response.headers[f"x-ratelimit-{name}"] = str(value)
        response.headers["x-ratelimit-resource"] = "core"
        if self._enterprise:
            response.headers["x-github-enterprise-version"] = self._enterprise
        if self._credential.expires:
            response.headers["github-authentication-token-expiration"] = self._credential.expires.astimezone(
                UTC
            ).strftime("%Y-%m-%d %H:%M:%S UTC")
        return response

    def quota(self) -> dict[str, int]:
        """Return the state of the hourly limit."""
        return self._meter.quota(self._clock())

    def _accept(self, request: Request) -> None:
        accepted = request.headers.get("accept", "*/*")
        if not any(kind in accepted for kind in ("json", "*/*", "application/*")):
            raise ApiError(415, f"Unsupported 'Accept' header: '{accepted}'. Must accept 'application/json'.", DOCS)
        version = request.headers.get("x-github-api-version", VERSIONS[0])
        if version not in VERSIONS:
            raise ApiError(400, f"{version} is not a supported API version.", f"{DOCS}/about-the-rest-api/api-versions")

    def _sign_in(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            raise ApiError(401, "Requires authentication")
        if self._app and _FOR_APPS.fullmatch(request.url.path):
            self._app.sign_in(request, self._clock)
            return
        if self._app and self._app.knows(token.strip(), self._clock):
            return
        expected = self._credential.token.encode()
        expired = self._credential.expires is not None and self._credential.expires <= self._clock()
        known = scheme.lower() in ("bearer", "token") and hmac.compare_digest(token.strip().encode(), expected)
        if not known or expired:
            raise ApiError(401, "Bad credentials")

    def _pay(self) -> None:
        if self._meter.exhausted(self._clock()):
            raise ApiError(
                403,
                "API rate limit exceeded for user ID 1. If you reach out to GitHub Support for help, please include "
                "the request ID and timestamp.",
                f"{DOCS}/using-the-rest-api/rate-limits-for-the-rest-api",
            )
