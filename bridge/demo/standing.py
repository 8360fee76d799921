"""The loopback GitHub as a server of its own: `python -m bridge.demo.standing TREE`, for compose.yaml's profile `demo`.

It takes dispatches and shows their runs; there is no runner, so they stay queued. GITHUB_REPOSITORY and GITHUB_TOKEN
are what the bridge has, too; GITHUB_API_URL is the address at which the bridge reaches it; PORT is 9000 by default.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bridge.demo.github import LoopbackGitHub

_PORT = "9000"
_NEEDED = {
    "GITHUB_REPOSITORY": "the repository that is to be there, as owner/name",
    "GITHUB_TOKEN": "the token that it is to know",
}


def serve(tree: Path, environ: Mapping[str, str]) -> int:
    """Serve the repository in the tree until SIGTERM or SIGINT; give the exit status, 2 where a setting is missing."""
    if lacking := [name for name in _NEEDED if not environ.get(name)]:
        print("\n".join(f"{name} is not set: set it to {_NEEDED[name]}" for name in lacking), file=sys.stderr)
        return 2
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before any thread starts: all of them leave signals to us
    with (
        tempfile.TemporaryDirectory(prefix="loopback-github-") as folder,
        LoopbackGitHub(
            repository=environ["GITHUB_REPOSITORY"],
            tree=tree,
            token=environ["GITHUB_TOKEN"],
            folder=Path(folder),
            listen=("0.0.0.0", int(environ.get("PORT") or _PORT)),  # noqa: S104  it is alone in its container
            url=environ.get("GITHUB_API_URL", ""),
        ) as github,
    ):
        print(
            f"loopback GitHub serves {github.name} at {github.url}: it has no runner, so runs stay queued", flush=True
        )
        signal.sigwait(ends)
    return 0


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), os.environ))
