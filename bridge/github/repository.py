"""One repository as a credential sees it: its content, and what the credential may do there.

Sources: GitHub's REST API, "Get a repository", "Get repository content", "List repository workflows", "Get GitHub
Actions permissions for a repository"; "Troubleshooting the REST API" for X-Accepted-GitHub-Permissions.
"""

from typing import Final

from bridge.github.client import GithubApi
from bridge.github.responses import Outcome
from bridge.github.workflow_file import FOLDER

_RAW: Final = {"Accept": "application/vnd.github.raw+json"}


class GithubRepository:
    """Requests about one repository, none of which changes it. No method raises for what GitHub does."""

    def __init__(self, github: GithubApi, name: str) -> None:
        self._github = github
        self._name = name

    async def about(self) -> Outcome:
        """Get the repository itself (metadata=read)."""
        return await self._github.ask("GET", self._name)

    async def about_other(self, name: str) -> Outcome:
        """Get another repository as this one's token sees it: 404 if it is private, unless the token may read it."""
        return await self._github.ask("GET", name, signed_for=self._name)

    async def workflow_files(self, ref: str) -> Outcome:
        """List the files in the folder of the workflows (contents=read)."""
        return await self._github.ask("GET", self._name, f"contents/{FOLDER}", query={"ref": ref})

    async def workflow_file(self, name: str, ref: str) -> Outcome:
        """Get the text of one of these files (contents=read)."""
        return await self._github.ask("GET", self._name, f"contents/{FOLDER}/{name}", query={"ref": ref}, headers=_RAW)

    async def workflows(self) -> Outcome:
        """List the workflows that Actions know, and whether they are enabled (actions=read)."""
        return await self._github.ask("GET", self._name, "actions/workflows", query={"per_page": "100"})

    async def runs(self) -> Outcome:
        """Get one run, as the follower does (actions=read)."""
        return await self._github.ask("GET", self._name, "actions/runs", query={"per_page": "1"})

    async def actions(self) -> Outcome:
        """Get whether Actions are enabled (administration=read, which the bridge itself doesn't need)."""
        return await self._github.ask("GET", self._name, "actions/permissions")

    async def try_dispatch(self) -> Outcome:
        """Send a repository_dispatch that can't succeed: 422 if the credential has contents=write.

        The required `event_type` is missing, so no run starts. GitHub checks the permission before the body: see
        TruffleHog's analyzer of fine-grained tokens (`analyzers/github/finegrained`), which distinguishes 403 from 422
        in the same way for contents, commit statuses and others; and issue 28 of peter-evans/repository-dispatch, where
        a valid token without `event_type` got 422 "Invalid request" and no run.
        """
        return await self._github.ask("POST", self._name, "dispatches", body={})

    async def try_workflow_dispatch(self, workflow: str) -> Outcome:
        """Send a workflow_dispatch that can't succeed without `ref`: 422 if the credential has actions=write.

        As `try_dispatch`; the same analyzer gets 403 without the permission, and 404 with it for a missing file.
        """
        return await self._github.ask("POST", self._name, f"actions/workflows/{workflow}/dispatches", body={})
