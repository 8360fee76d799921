"""Real servers as child processes, at a free port of 127.0.0.1.

They get few of this process's environment variables, so that a real GITHUB_TOKEN, for example, doesn't reach them.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx2

from bridge.core.errors import BridgeError

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
_START_SECONDS = 600.0
_STOP_SECONDS = 60.0
_FERNET_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
"""Not a secret: it encrypts the secrets of webhooks in a database that is deleted at the end."""


class ProcessFailed(BridgeError):
    """A server did not start."""


started: list["Server"] = []
"""The servers whose logs a failing test shows."""


class Server:
    """A server process: healthy once `with` is entered, stopped with all its children when it is left."""

    title: str
    health = "/health"
    """Its status is below 500 once the server is up."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"{self.title}.log"
        self.seconds_to_start = 0.0
        self._command = list(command)
        self._env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""
        if self._process is None:
            raise ProcessFailed(f"{self.title} is not running", "enter it with `with` first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines of the log."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]

    def __enter__(self) -> Self:
        started.append(self)
        self.folder.mkdir(parents=True, exist_ok=True)
        starting_at = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_healthy(self._process, starting_at + _START_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.seconds_to_start = time.monotonic() - starting_at
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the process and its children: by SIGTERM, then by SIGKILL. Does nothing if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and its children, as in a crash."""
        self._end(signal.SIGKILL)

    def _end(self, first: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        for sign in (first, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        self._process = None

    def _wait_until_healthy(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        with httpx2.Client(trust_env=False, timeout=2.0) as client:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise ProcessFailed(f"{self.title} ended with status {process.returncode}{self._end_of_log()}")
                with suppress(httpx2.HTTPError):
                    if client.get(f"{self.url}{self.health}").status_code < 500:
                        return
                time.sleep(0.05)
        raise ProcessFailed(f"{self.title} was not healthy within {_START_SECONDS:.0f} s{self._end_of_log()}")

    def _end_of_log(self) -> str:
        return "".join(f"\n{line}" for line in [f"the end of {self.log}:", *self.last_lines(15)])


class MlflowServer(Server):
    """`mlflow server` with its database and artifacts in `folder`; its webhooks may go to this machine."""

    title = "mlflow"

    def __init__(self, folder: Path) -> None:
        port = free_port()
        folder = folder.resolve()
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")),
        ]
        super().__init__(command, _MLFLOW, folder, port)


_MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": _FERNET_KEY,
    # The default of a minute would delay the first deliveries.
    "MLFLOW_WEBHOOK_CACHE_TTL": "1",
}


class BridgeServer(Server):
    """`mlflow-bridge serve` with the settings in `env` and its ledger in `folder`."""

    title = "bridge"

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        port = free_port()
        own = {"HOST": "127.0.0.1", "PORT": str(port)}
        super().__init__([sys.executable, "-m", "bridge", "serve"], {**env, **own}, folder, port)


def free_port() -> int:
    """Return a free port of 127.0.0.1, below those of outgoing connections, which could take it before its server."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
