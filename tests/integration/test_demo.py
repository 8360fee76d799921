"""The demo on a machine without Docker."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.waiting import PATIENCE, until

COMMAND = [sys.executable, "-m", "tests.loopback.demo"]


def environment(folder: Path) -> dict[str, str]:
    """A PATH with git alone, a wide terminal, and a folder for temporary files."""
    (folder / "tmp").mkdir()
    (folder / "bin").mkdir()
    (folder / "bin/git").symlink_to(str(shutil.which("git")))
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
    return {**kept, "PATH": str(folder / "bin"), "COLUMNS": "200", "TMPDIR": str(folder / "tmp")}


def test_without_docker_it_shows_the_dispatches_the_runs_and_the_dockerfile(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"FROM python:{'.'.join(map(str, sys.version_info[:3]))}-slim" in done.stdout
    assert "docker is not on the PATH: install Docker" in done.stdout
    assert done.stdout.count("Iris Clf (EU) 1") >= 2
    assert "Registration to dispatch" in done.stdout
    assert list((tmp_path / "tmp").iterdir()) == []


def test_with_keep_it_shows_where_everything_is_until_it_is_interrupted(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            # Shells start background jobs with SIGINT ignored, and what they start inherits that.
            [str(shutil.which("env")), "--default-signal=INT", *COMMAND, "--keep"],
            env=environment(tmp_path),
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        until(lambda: process.poll() is not None or "Files and logs" in _text(output.fileno()))
        os.kill(process.pid, signal.SIGINT)
        try:
            assert process.wait(PATIENCE) == 0, _text(output.fileno())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert "Still running: press Ctrl-C to stop" in _text(output.fileno())
    assert list((tmp_path / "tmp").iterdir()) == []


def _text(descriptor: int) -> str:
    return os.pread(descriptor, 1 << 20, 0).decode()
