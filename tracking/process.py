"""The server's process under this one, which is the container's first: a stop ends it in time, whatever it is doing."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_SECONDS = 2.5
"""How long the server may take to end: what it allows the requests under way, and half a second."""


class Stopped(BaseException):
    """This process was told to stop."""


def listen() -> None:
    """Raise `Stopped` at SIGTERM or SIGINT from now on: for a container's first process they do nothing by default."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def run(command: Sequence[str], serves: Callable[[], bool], seconds: float = _SECONDS) -> int:
    """Run the server until it ends or this process is told to stop; give this process's exit status.

    0 where it was told to stop: a server that serves is asked to end, and all that is left of it after `seconds` is
    killed. One that does not serve yet is killed at once: nothing is under way, and it hears of no signal while its
    workers are importing. A server that ends by itself has failed, whatever it says.
    """
    child = subprocess.Popen(command, start_new_session=True)
    try:
        return child.wait() or 1
    except Stopped:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if serves():
            # To its workers, too: the server itself looks for signals only now and then.
            os.killpg(child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
        return 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped
