"""GitHub's own packages for workflows and their expressions, which run on Node.js."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_SCRIPTS = Path(__file__).parent / "data/actions"


def install(folder: Path) -> Path:
    """Install the packages by their hashes and copy the scripts into the folder, which is returned; skips the test
    if npm can't.
    """
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    shutil.copytree(_SCRIPTS, folder, dirs_exist_ok=True)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm can't install GitHub's packages: {done.stderr}")
    return folder


def run(folder: Path, script: str, content: Any) -> Any:
    """Run a script with this JSON as its input, and return the JSON that it prints."""
    done = subprocess.run(
        ["node", script], cwd=folder, input=json.dumps(content), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
