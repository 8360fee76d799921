"""The limits of a container that runs a model's code on the runner, as options of `docker run`; pure."""

USER = 10001
"""The user that model code runs as: nobody's on the runner, and the one that images in layers are made for."""
MEMORY_RESERVE = 1 << 30
"""Bytes of memory that the runner's agent, the engine and this process keep; on small machines half of it all."""
CPU_RESERVE = 0.5
"""CPUs that they keep, so that a busy model can't make the runner miss its own deadlines."""
PROCESSES = 1024
"""Processes and threads: a fork bomb ends here, and servers with a pool of threads for each core do not."""
OPEN_FILES = 16384
"""Far more than a server with one worker has. Engines may allow a million, and one can't give more than it has."""
LOG_BYTES, LOG_FILES = 1 << 20, 2
"""What the engine keeps of the container's output on the runner's disk; a step shows the last 200 lines of it."""
SHARED_MEMORY = 64 << 20
"""Bytes of /dev/shm, the engine's own default; they count as memory."""
SERVER_FILES = 16 << 20
"""Bytes in each of the folders that nginx writes to; they count as memory."""
_NGINX = ("/var/lib/nginx", "/var/log/nginx")
_NGINX_AS_ROOT = ("CHOWN", "SETGID", "SETUID")
"""nginx that is started as root gives its worker and the worker's folders to another user, or ends."""


def options(memory: int, cpus: int, *, root: bool) -> list[str]:
    """Give the options for a machine of `memory` bytes and that many CPUs.

    No capability, no new privilege, and nothing to write to but memory, which is limited. `root`: MLflow's images with
    pyenv or conda have their Python below /root, where no other user may read.
    """
    limit = max(memory - MEMORY_RESERVE, memory // 2)
    temporary = limit // 2  # the other half is for the model itself
    user = 0 if root else USER
    capabilities = [f"--cap-add={each}" for each in _NGINX_AS_ROOT] if root else []
    home = [] if root else ["--env", "HOME=/tmp"]  # one that can be written to
    return [
        *("--user", f"{user}:{user}", *home),
        *("--cap-drop", "ALL", *capabilities, "--security-opt", "no-new-privileges"),
        *("--memory", str(limit), "--memory-swap", str(limit)),  # the same: no swap besides
        *("--oom-score-adj", "1000"),  # where memory runs out all the same, the kernel ends the model first
        *("--cpus", str(max(cpus - CPU_RESERVE, cpus / 2))),
        *("--pids-limit", str(PROCESSES), "--ulimit", f"nofile={OPEN_FILES}:{OPEN_FILES}"),
        *("--ulimit", f"fsize={temporary}", "--ulimit", "core=0"),
        *("--log-driver", "json-file", "--log-opt", f"max-size={LOG_BYTES}", "--log-opt", f"max-file={LOG_FILES}"),
        *("--init", "--ipc", "private", "--shm-size", str(SHARED_MEMORY), "--read-only"),
        *("--tmpfs", f"/tmp:exec,mode=1777,size={temporary}"),  # noqa: S108  exec: some unpack libraries there
        # By owner, for runc gives a tmpfs the mode of the folder below it.
        *(word for each in _NGINX for word in ("--tmpfs", f"{each}:uid={user},gid={user},size={SERVER_FILES}")),
    ]
