"""Ending a process with all its descendants."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def stop(process: "subprocess.Popen[str]", grace: float = 5.0) -> None:
    """End a process and all its descendants, by SIGKILL after `grace` seconds; returns when they are gone.

    Steps run in sessions of their own, which a signal to act's process group doesn't reach; so /proc is searched.
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
    """Return the ids of all descendants of `pid` with their start times; a reused id has another one."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        parent, started = _origin(int(entry.name))
        children.setdefault(parent, []).append((int(entry.name), started))
    descendants, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        descendants += below
        waiting += [child for child, _ in below]
    return descendants


def _origin(pid: int) -> tuple[int, str]:
    """Return a process's parent and start time from `stat` in proc(5); 0 and "" if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, ""
    return (int(fields[1]), fields[19]) if fields[0] != "Z" else (0, "")


def _lives(process: tuple[int, str]) -> bool:
    return bool(process[1]) and _origin(process[0])[1] == process[1]
