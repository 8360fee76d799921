"""The end of a process with all that it started."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def stop(process: "subprocess.Popen[str]", grace: float = 5.0) -> None:
    """End a process and all that it started, by force after `grace` seconds; come back when they are gone.

    Steps run in sessions of their own, so a signal to act's group doesn't reach them: they are looked up (Linux).
    """
    family = [] if process.poll() is not None else [(process.pid, _origin(process.pid)[1]), *_descendants(process.pid)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(family, number)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(map(_lives, family)):
            time.sleep(0.02)
    process.wait()


def _signal(family: Iterable[tuple[int, str]], number: signal.Signals) -> None:
    for pid, started in family:
        if _lives((pid, started)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _descendants(pid: int) -> list[tuple[int, str]]:
    """Give the ids of all processes below `pid`, each with its start time, which tells it from a later one."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        parent, started = _origin(int(entry.name))
        children.setdefault(parent, []).append((int(entry.name), started))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += [child for child, _ in below]
    return found


def _origin(pid: int) -> tuple[int, str]:
    """Give a process's parent and its start time from proc(5)'s `stat`; zero and nothing for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, ""
    return (int(fields[1]), fields[19]) if fields[0] != "Z" else (0, "")


def _lives(process: tuple[int, str]) -> bool:
    return bool(process[1]) and _origin(process[0])[1] == process[1]
