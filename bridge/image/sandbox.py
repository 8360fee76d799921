"""The limits of a container that runs model code on the runner, as options of `docker run`; pure."""

USER = 10001
"""The user that model code runs as: no user of the runner, and the one that layered images are built for."""
MEMORY_RESERVE = 1 << 30
"""Bytes of memory reserved for the runner's agent, the engine and this process; on small machines, half of it."""
CPU_RESERVE = 0.5
"""CPUs reserved for them, so that a busy model can't make the runner miss its own deadlines."""
PROCESSES = 1024
"""Processes and threads. Enough for a server with a thread pool per core, too few for a fork bomb."""
OPEN_FILES = 16384
"""Far more than a server with one worker needs. Must not exceed Docker's own limit, often a million."""
LOG_BYTES, LOG_FILES = 1 << 20, 2
"""How much of the container's output Docker keeps on the runner's disk; the step shows the last 200 lines."""
SHARED_MEMORY = 64 << 20
"""Bytes of /dev/shm, as is Docker's default; they count as memory."""
SERVER_FILES = 16 << 20
"""Bytes in each of the folders that nginx writes to; they count as memory."""
_NGINX = ("/var/lib/nginx", "/var/log/nginx")
_NGINX_AS_ROOT = ("CHOWN", "SETGID", "SETUID")
"""What nginx needs when it is started as root: it changes the user of its worker and folders, or exits."""


def options(memory: int, cpus: int, *, root: bool) -> list[str]:
    """Return the options for a machine with `memory` bytes and that many CPUs.

    No capabilities, no new privileges, and no writable files except in memory, which is limited. `root` is for MLflow's
    images with pyenv or conda: their Python is below /root, which no other user may read.
    """
    limit = max(memory - MEMORY_RESERVE, memory // 2)
    temporary = limit // 2  # the other half is for the model itself
    user = 0 if root else USER
    capabilities = [f"--cap-add={capability}" for capability in _NGINX_AS_ROOT] if root else []
    home = [] if root else ["--env", "HOME=/tmp"]  # a writable home
    return [
        *("--user", f"{user}:{user}", *home),
        *("--cap-drop", "ALL", *capabilities, "--security-opt", "no-new-privileges"),
        *("--memory", str(limit), "--memory-swap", str(limit)),  # the same: no swap
        *("--oom-score-adj", "1000"),  # if memory still runs out, the kernel kills the model first
        *("--cpus", str(max(cpus - CPU_RESERVE, cpus / 2))),
        *("--pids-limit", str(PROCESSES), "--ulimit", f"nofile={OPEN_FILES}:{OPEN_FILES}"),
        *("--ulimit", f"fsize={temporary}", "--ulimit", "core=0"),
        *("--log-driver", "json-file", "--log-opt", f"max-size={LOG_BYTES}", "--log-opt", f"max-file={LOG_FILES}"),
        *("--init", "--ipc", "private", "--shm-size", str(SHARED_MEMORY), "--read-only"),
        *("--tmpfs", f"/tmp:exec,mode=1777,size={temporary}"),  # noqa: S108  exec: some unpack libraries there
        # With an owner, because runc copies the mode of the folder below it to a tmpfs.
        *(word for folder in _NGINX for word in ("--tmpfs", f"{folder}:uid={user},gid={user},size={SERVER_FILES}")),
    ]
