"""A process under ours, with real processes and signals."""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import PATIENCE
from tracking import process

PARENT = """
import sys
from tracking import process
process.listen()
sys.exit(process.run(sys.argv[2:], lambda: sys.argv[1] == "serves", 2.0))
"""
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(3600)"
POLITE = """
import signal, sys, time
def leave(*_):
    print('bye', flush=True)
    sys.exit()
signal.signal(15, leave)
print('up', flush=True)
time.sleep(3600)
"""
WITH_WORKER = """
import signal, subprocess, sys, time
signal.signal(15, lambda *_: None)  # as one that looks for signals only now and then
subprocess.Popen([sys.executable, "-c", sys.argv[1]]).wait()
"""


@dataclass(frozen=True)
class Stopped:
    """How it ended: its status, and what it printed after the stop."""

    status: int
    said: bytes


def stop(server: list[str], sign: signal.Signals, *, serves: bool) -> Stopped:
    command = [sys.executable, "-c", PARENT, "serves" if serves else "starts", sys.executable, "-c", *server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.send_signal(sign)
        status = parent.wait(PATIENCE)
        said = parent.stdout.read()  # to its end: the children, who have it too, are gone then
        return Stopped(status, said)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_a_server_that_serves_come_to_its_end(sign: signal.Signals) -> None:
    done = stop([POLITE], sign, serves=True)
    assert (done.status, done.said) == (0, b"bye\n")


def test_a_stop_reaches_the_servers_workers_at_once() -> None:
    assert stop([WITH_WORKER, POLITE], signal.SIGTERM, serves=True).said == b"bye\n"


@pytest.mark.parametrize("server", [[DEAF], [WITH_WORKER, DEAF]])
def test_what_does_not_end_is_killed_in_time(server: list[str]) -> None:
    done = stop(server, signal.SIGTERM, serves=True)
    assert (done.status, done.said) == (0, b"")


def test_one_that_does_not_serve_yet_is_not_waited_for() -> None:
    done = stop([POLITE], signal.SIGTERM, serves=False)
    assert (done.status, done.said) == (0, b"")


@pytest.mark.parametrize(("code", "status"), [("import sys; sys.exit(3)", 3), ("pass", 1)])
def test_a_server_that_ends_by_itself_has_failed(code: str, status: int) -> None:
    assert process.run([sys.executable, "-c", code], lambda: True) == status
