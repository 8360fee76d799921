"""Step "gate": run the operator's command, which decides whether the image's aliases may be promoted."""

import os
import subprocess
from collections import deque

from bridge.core.text import clean
from bridge.image import actions
from bridge.image.errors import GateFailed
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Workspace

_MAX_REASON = 300
"""Characters of the command's last line that are written into MLflow."""


def gate(settings: ImageSettings, workspace: Workspace) -> None:
    """Run the input `gate`, and store its result. Raises `GateFailed` if its status isn't 0.

    The command gets IMAGE (the name with the digest), DIGEST, MODEL, VERSION and SBOM (the path of the CycloneDX file;
    empty if this run wrote none) in its environment. Its last line of output is the reason of a failure.
    """
    resolved = workspace.resolved()
    environment = os.environ | {
        "IMAGE": workspace.reference(),
        "DIGEST": workspace.digest(),
        "MODEL": resolved.model,
        "VERSION": resolved.version,
        "SBOM": str(workspace.sbom) if workspace.sbom.exists() else "",
    }
    last: deque[str] = deque(maxlen=1)
    # A scanner prints what it finds in the image, which is untrusted.
    with (
        actions.untrusted_output(),
        subprocess.Popen(
            ["bash", "-e", "-o", "pipefail", "-c", settings.gate],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last.extend([line] if line.strip() else [])
    if process.returncode:
        reason = clean(" ".join("".join(last).split()))[:_MAX_REASON]
        failure = f"status {process.returncode}" + (f": {reason}" if reason else "")
        workspace.write_gate(failure)
        raise GateFailed(
            f"the gate ended with {failure}",
            "see its output above; once it passes, re-run the workflow to promote the aliases of this version",
        )
    workspace.write_gate("")
