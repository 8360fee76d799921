"""Who may see the status page and its API: the user `admin` with ADMIN_PASSWORD, by HTTP Basic (RFC 7617).

A browser sends the password with every request, also with one that another site causes. So requests that change
something are accepted only from our own pages and from programs: by `Sec-Fetch-Site`, or by `Origin` where a browser
doesn't send that header (OWASP's cheat sheet on cross-site request forgery calls this check Fetch Metadata).
"""

import asyncio
import binascii
import secrets
from base64 import b64decode
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import structlog
from fastapi import Request
from fastapi.openapi.models import HTTPBase
from fastapi.security.base import SecurityBase

from bridge.core.errors import BridgeError
from bridge.server.state import AppState

USER: Final = "admin"

DELAY: Final = 1.0
"""Seconds until a wrong password is answered, so that each connection can guess only once in that time."""

_SAFE: Final = frozenset({"GET", "HEAD"})

_log = structlog.get_logger(__name__)


class PageDisabled(BridgeError):
    """The operator has set no password, so there is no status page."""


class NotSignedIn(BridgeError):
    """User or password is missing or wrong."""

    def __init__(self) -> None:
        super().__init__("the user or password is missing or wrong", f"sign in as {USER} with ADMIN_PASSWORD")


class CrossSite(BridgeError):
    """Another site made the browser send this request."""


class _Admin(SecurityBase):
    """Accepts a request, or raises one of the above; also part of the OpenAPI description."""

    def __init__(self) -> None:
        self.model = HTTPBase(scheme="basic", description=f"User `{USER}` with ADMIN_PASSWORD.")
        self.scheme_name = "admin"

    async def __call__(self, request: Request) -> None:
        if AppState.of(request).settings.admin_password is None:
            raise PageDisabled("the status page is disabled", "set ADMIN_PASSWORD to enable it")
        if not await is_admin(request):
            raise NotSignedIn
        if request.method not in _SAFE:
            check_origin(request.headers)


admin: Final = _Admin()


async def is_admin(request: Request) -> bool:
    """Return whether the administrator sent the request; False if it has no password, or none is set.

    Raises `NotSignedIn` for a wrong one, after `DELAY`. Nobody is locked out: a proxy's clients share one address.
    """
    state, authorization = AppState.of(request), request.headers.get("authorization", "")
    password = state.settings.admin_password
    if password is None or not authorization.lower().startswith("basic "):
        return False
    try:
        check(authorization, password.get_secret_value())
    except NotSignedIn:
        _log.warning(
            "sign-in failed", reason="the user or password is wrong", peer=request.client and request.client.host
        )
        await asyncio.sleep(DELAY)
        raise
    return True


def check(authorization: str, password: str) -> None:
    """Return only for the right user and password; raises `NotSignedIn`. Both are compared in constant time."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        user, _, sent_password = b64decode(credentials.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        user, sent_password = b"", b""
    user_matches = secrets.compare_digest(user, USER.encode())
    password_matches = secrets.compare_digest(sent_password, password.encode())
    if scheme.lower() != "basic" or not (user_matches and password_matches):
        raise NotSignedIn


def check_origin(headers: Mapping[str, str]) -> None:
    """Return only for requests of our own pages and of programs; raises `CrossSite`."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or _host(origin) == headers.get("host", "").lower()
    if not is_ours:
        raise CrossSite("the request came from another site", "send it from the status page")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
