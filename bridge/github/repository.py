"""One repository as GitHub shows it to a credential: what is there, and what the credential may do there.

Sources: GitHub's REST API, "Get a repository", "Get repository content", "List repository workflows", "Get GitHub
Actions permissions for a repository"; "Troubleshooting the REST API" for X-Accepted-GitHub-Permissions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from bridge.core.text import read_json
from bridge.github.client import GithubApi, message

FOLDER: Final = ".github/workflows"

_RAW: Final = {"Accept": "application/vnd.github.raw+json"}


@dataclass(frozen=True)
class Reply:
    """What GitHub answered; `headers` have lower-case names."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        """Give the body as JSON, None where it is none."""
        try:
            return read_json(self.text)
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """Give GitHub's own words for an error, in one line."""
        return " ".join(message(self.text).split())[:300]


@dataclass(frozen=True)
class Silence:
    """No answer came from GitHub."""

    cause: str


Seen = Reply | Silence


class GithubRepository:
    """Asks about one repository, and changes nothing. No method raises for what GitHub does."""

    def __init__(self, github: GithubApi, name: str) -> None:
        self._github = github
        self._name = name

    async def about(self) -> Seen:
        """Ask for the repository itself (metadata=read)."""
        return await self._ask("GET")

    async def workflow_files(self, ref: str) -> Seen:
        """Ask which files lie in the folder of the workflows (contents=read)."""
        return await self._ask("GET", f"contents/{FOLDER}", query={"ref": ref})

    async def workflow_file(self, name: str, ref: str) -> Seen:
        """Ask for the text of one of these files (contents=read)."""
        return await self._ask("GET", f"contents/{FOLDER}/{name}", query={"ref": ref}, headers=_RAW)

    async def workflows(self) -> Seen:
        """Ask which workflows Actions know, and whether each is enabled (actions=read)."""
        return await self._ask("GET", "actions/workflows", query={"per_page": "100"})

    async def runs(self) -> Seen:
        """Ask for a run, as the follower does (actions=read)."""
        return await self._ask("GET", "actions/runs", query={"per_page": "1"})

    async def actions(self) -> Seen:
        """Ask whether Actions are enabled (administration=read, which the bridge itself doesn't need)."""
        return await self._ask("GET", "actions/permissions")

    async def try_dispatch(self) -> Seen:
        """Ask for a repository_dispatch that can't be: 422 where the credential may (contents=write).

        `event_type` is required and missing, so that nothing starts. GitHub looks at the permission before it looks
        at the body: see TruffleHog's analyzer of fine-grained tokens (`analyzers/github/finegrained`), which tells
        403 from 422 in just this way for contents, commit statuses and others; and issue 28 of
        peter-evans/repository-dispatch, where a good token without `event_type` got 422 "Invalid request" and no run.
        """
        return await self._ask("POST", "dispatches", body={})

    async def try_workflow_dispatch(self, workflow: str) -> Seen:
        """Ask for a workflow_dispatch that can't be, for want of `ref`: 422 where the credential may (actions=write).

        As `try_dispatch`; the same analyzer gets 403 without the permission, and 404 with it for a file that isn't
        there.
        """
        return await self._ask("POST", f"actions/workflows/{workflow}/dispatches", body={})

    async def _ask(self, method: str, path: str = "", **more: Any) -> Seen:
        answer = await self._github.ask(method, self._name, path, **more)
        if not isinstance(answer, httpx.Response):
            return Silence(answer.cause)
        return Reply(answer.status_code, answer.content.decode(errors="replace"), dict(answer.headers))
