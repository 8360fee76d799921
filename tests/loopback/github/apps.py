"""A GitHub App at the loopback GitHub: the check of its JWT, and the tokens of its installation.

Sources: GitHub's documents "Generating a JSON Web Token (JWT) for a GitHub App" and "Create an installation access
token for an app".
"""

import secrets
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
from fastapi import FastAPI, Request

from tests.loopback.github.bodies import read_json
from tests.loopback.github.gate import DOCS, ApiError
from tests.loopback.github.runs import Clock

_LONGEST = 600
"""The longest life of a JWT, in seconds."""

_INSTALLATIONS = f"{DOCS}/apps/apps#create-an-installation-access-token-for-an-app"


class App:
    """An App that is installed on the one repository; `public_key` is in PEM form, `life` that of its tokens."""

    def __init__(
        self,
        app_id: str,
        public_key: str,
        *,
        installation: int = 1,
        life: timedelta = timedelta(hours=1),
    ) -> None:
        self.installation = installation
        self.issued: list[str] = []
        """Every token, oldest first."""
        self._app_id = app_id
        self._public_key = public_key
        self._life = life
        self._ends: dict[str, datetime] = {}
        self._changing = threading.Lock()

    def sign_in(self, request: Request, clock: Clock) -> None:
        """Raise `ApiError` 401 unless the request has a JWT of the App."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        now = clock().timestamp()
        try:
            claims = jwt.decode(
                token.strip(),
                self._public_key,
                algorithms=["RS256"],
                issuer=self._app_id,
                options={"require": ["iat", "exp", "iss"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise ApiError(401, "A JSON web token could not be decoded") from error
        if scheme.lower() != "bearer":
            raise ApiError(401, "A JSON web token could not be decoded")
        if claims["exp"] > now + _LONGEST:
            raise ApiError(401, "'Expiration time' claim ('exp') is too far in the future")
        if claims["exp"] <= now:
            raise ApiError(401, "'Expiration time' claim ('exp') must be a numeric value representing the future time")
        if claims["iat"] > now:
            raise ApiError(401, "'Issued at' claim ('iat') must be an Integer representing the time it was issued")

    def issue(self, installation: int, body: Mapping[str, Any], repository: str, clock: Clock) -> dict[str, Any]:
        """Create a token for the repository; raises `ApiError` 404 and 422."""
        if installation != self.installation:
            raise ApiError(404, "Not Found", _INSTALLATIONS)
        only = [repository.partition("/")[2]]
        if body.get("repositories", only) != only:
            raise ApiError(
                422,
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
                _INSTALLATIONS,
            )
        token, ends = f"ghs_{secrets.token_hex(18)}", clock() + self._life
        with self._changing:
            self.issued.append(token)
            self._ends[token] = ends
        return {"token": token, "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ"), "repository_selection": "selected"}

    def knows(self, token: str, clock: Clock) -> bool:
        """Return whether the token is one of the App's and has not expired."""
        with self._changing:
            return token in self._ends and self._ends[token] > clock()

    def revoke(self) -> None:
        """Let every token expire now."""
        with self._changing:
            self._ends.clear()


def add_endpoints(api: FastAPI, app: App, repository: str, clock: Clock) -> None:
    """Add the endpoints for an App: its installation on the repository, and a token of that."""

    @api.get(f"/repos/{repository}/installation")
    def installation() -> dict[str, Any]:
        return {"id": app.installation, "repository_selection": "selected", "target_type": "Organization"}

    @api.post("/app/installations/{number}/access_tokens", status_code=201)
    async def access_tokens(request: Request, number: int) -> dict[str, Any]:
        return app.issue(number, read_json(await request.body() or b"{}"), repository, clock)
