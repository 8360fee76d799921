"""A GitHub for other containers: `python -m tests.loopback.github` in a folder with workflows.

GITHUB_REPOSITORY and GITHUB_TOKEN are those of the bridge. There is no runner, so every run stays queued.
"""

import os
import signal
import tempfile
from pathlib import Path

from tests.loopback.github.server import LoopbackGitHub

if __name__ == "__main__":
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)  # before any thread starts, so that `sigwait` gets them
    with (
        tempfile.TemporaryDirectory() as folder,
        LoopbackGitHub(
            repository=os.environ["GITHUB_REPOSITORY"],
            tree=Path.cwd(),
            token=os.environ["GITHUB_TOKEN"],
            folder=Path(folder),
            listen=("0.0.0.0", 9000),  # noqa: S104  in a container, 127.0.0.1 is reached by nobody else
        ),
    ):
        signal.sigwait(stop_signals)
