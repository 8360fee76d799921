"""The programs that the runner must have, checked before the first step that needs them."""

import re
import subprocess
from collections.abc import Sequence
from typing import Final

from bridge.image import actions, docker
from bridge.image.errors import ProgramUnusable

_SKOPEO: Final = (1, 6)
"""The first release whose `copy` knows `--preserve-digests`."""
_SECONDS: Final = 30.0
"""Limit of one program."""


def check_programs() -> None:
    """Raise `ProgramUnusable` unless there is a recent skopeo, and a docker whose engine responds.

    Nothing newer is asked of Docker than any engine in use has: building and running an image, and pushing it.
    """
    skopeo = _output(["skopeo", "--version"], "install skopeo 1.6 or newer")
    release = re.search(r"\b(\d+)\.(\d+)", skopeo)
    if release and (int(release[1]), int(release[2])) < _SKOPEO:
        raise ProgramUnusable(
            f"{skopeo} is too old to copy an image without changing its digest",
            "install skopeo 1.6 or newer, or use a runner with Ubuntu 24.04",
        )
    engine = _output(["docker", "version", "--format", "{{.Server.Version}}"], "install Docker and start its engine")
    actions.log(f"{skopeo}, Docker {engine}")


def _output(command: Sequence[str], hint: str) -> str:
    """Return what the program prints. Raises `ProgramUnusable`."""
    try:
        result = subprocess.run(
            command, env=docker.environment(), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise ProgramUnusable(f"{command[0]} is not installed on this runner", hint) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramUnusable(f"{command[0]} does not work on this runner ({type(error).__name__})", hint) from error
    if result.returncode:
        reason = " ".join(result.stderr.split())[-300:]
        raise ProgramUnusable(f"{command[0]} does not work on this runner ({reason})", hint)
    return " ".join(result.stdout.split())
