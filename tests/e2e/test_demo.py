"""`make demo` on a machine that has everything."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.loopback.stage import missing_for_images

ROOT = Path(__file__).parents[2]


def images() -> set[str]:
    """Return the names of models' images; other tests create and remove other images meanwhile."""
    listed = subprocess.run(["docker", "images", "--format", "{{.Repository}}"], capture_output=True, text=True)
    return {name for name in listed.stdout.split() if "/demo/" in name or name.startswith("mlflow-bridge-")}


def test_the_demo_ends_with_an_answer_of_the_registered_model_and_leaves_no_trace(tmp_path: Path) -> None:
    if missing := missing_for_images():
        pytest.skip(missing)
    before = images()
    env = os.environ | {"TMPDIR": str(tmp_path), "COLUMNS": "200"}
    done = subprocess.run(
        ["make", "demo"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=7200
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    for seen in ('{"predictions": [0, 2]}', "1, champion", "pushed", "Registration to dispatch"):
        assert seen in done.stdout
    assert images() == before
    assert list(tmp_path.iterdir()) == []
