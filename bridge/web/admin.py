"""Who may see the status page and its API: the user `admin` with ADMIN_PASSWORD, by HTTP Basic (RFC 7617).

A browser sends that password along with whatever any site makes it ask for. So what changes anything is taken only from
our own pages, and from programs: by `Sec-Fetch-Site`, or by `Origin` where a browser sends no such header (the check
that OWASP's cheat sheet on cross-site request forgery calls Fetch Metadata, with its fallback).
"""

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

from bridge.errors import BridgeError
from bridge.web.state import State

USER: Final = "admin"

_SAFE: Final = frozenset({"GET", "HEAD"})

_log = structlog.get_logger(__name__)


class NoPage(BridgeError):
    """The operator has set no password, so there is no page."""


class NotSignedIn(BridgeError):
    """User or password is missing or wrong."""


class CrossSite(BridgeError):
    """Another site made the browser ask for this."""


class _Admin(SecurityBase):
    """Lets a request through, or raises one of the above. It stands in the OpenAPI description, too."""

    def __init__(self) -> None:
        self.model = HTTPBase(scheme="basic", description=f"User `{USER}`, and ADMIN_PASSWORD.")
        self.scheme_name = "admin"

    async def __call__(self, request: Request) -> None:
        password = State.of(request).settings.admin_password
        if password is None:
            raise NoPage("there is no status page here: set ADMIN_PASSWORD to have one")
        check(request.headers.get("authorization", ""), password.get_secret_value())
        if request.method not in _SAFE:
            check_origin(request.headers)


admin: Final = _Admin()


def check(authorization: str, password: str) -> None:
    """Return only for the right user and password; raises `NotSignedIn`. Both are compared in constant time."""
    scheme, _, given = authorization.partition(" ")
    try:
        user, _, word = b64decode(given.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        user, word = b"", b""
    right_user = secrets.compare_digest(user, USER.encode())
    right_word = secrets.compare_digest(word, password.encode())
    if scheme.lower() != "basic" or not (right_user and right_word):
        if authorization:
            _log.warning("sign-in refused", reason="user or password is wrong")
        raise NotSignedIn(f"sign in as {USER} with the password that ADMIN_PASSWORD holds")


def check_origin(headers: Mapping[str, str]) -> None:
    """Return only where our own page asks, or a program; raises `CrossSite`."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin is None or _host(origin) == headers.get("host", "").lower()
    if not ours:
        raise CrossSite("another site asked for this in your name: do it on the status page itself")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
