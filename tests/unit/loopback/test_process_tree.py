import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback.runner.process_tree import stop

FAMILY = """\
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == "stubborn" else signal.SIG_DFL)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
time.sleep(600)
"""


def lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "\nState:\tZ" not in status.read_text()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("temper", ["gentle", "stubborn"])
def test_a_process_is_ended_with_its_children_in_other_sessions(temper: str) -> None:
    with subprocess.Popen([sys.executable, "-c", FAMILY, temper], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert lives(child)
        stop(process, grace=0.3)
        assert not lives(child)
        assert process.returncode in (-15, -9)


def test_a_process_that_has_ended_is_left_alone() -> None:
    with subprocess.Popen(["true"], text=True) as process:
        process.wait()
        stop(process)
        assert process.returncode == 0
