"""A PostgreSQL server of the tests' own, from the machine's binaries: on 127.0.0.1, at a free port, gone at the end."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Final, Self
from uuid import uuid4

import psycopg

from tests.loopback.servers import free_port

_SECONDS: Final = 600.0
"""How long the server may take to start or to stop."""


class PostgresMissing(Exception):
    """This machine has no PostgreSQL binaries."""


def binary(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, of the newest version; raises `PostgresMissing`."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    program = shutil.which(name) or (str(debian[-1]) if debian else None)
    if program is None:
        raise PostgresMissing(f"{name} is not on the PATH nor in /usr/lib/postgresql: install PostgreSQL's server")
    return program


class Postgres:
    """A running server once `with` is entered. Many databases may be made in it.

    If not `durable`, it is faster and loses data in a crash of the machine, but not in its own.
    """

    def __init__(self, *, durable: bool = True) -> None:
        self._initdb, self._postgres = binary("initdb"), binary("postgres")
        self._options = [] if durable else ["-c", "fsync=off"]
        self._password = secrets.token_hex(16)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        try:
            if os.geteuid() == 0:
                os.chown(self._folder, *_somebody())
            self._initialise()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """The server's log so far."""
        return (self._folder / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The id of the server's first process."""
        if self._process is None:
            raise RuntimeError("PostgreSQL isn't running")
        return self._process.pid

    def database(self) -> str:
        """Create an empty database and return its URL for DATABASE_URL."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return self._url(name)

    def start(self) -> None:
        """Start at the same port as before; returns once it accepts connections."""
        with (self._folder / "log").open("ab") as log:
            command = [self._postgres, "-D", str(self._data), "-p", str(self._port), *self._options]
            self._process = self._popen(command, log)
        deadline = time.monotonic() + _SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop as in a restart of the machine: connections are cut, nothing is lost."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Stop as in a crash; after the next start, everything committed is there."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _url(self, database: str) -> str:
        return f"postgresql://bridge:{self._password}@127.0.0.1:{self._port}/{database}"

    def _initialise(self) -> None:
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        password_file.chmod(0o644)  # for the server's user; the folder is private
        command = [
            self._initdb,
            "-D",
            str(self._data),
            "-U",
            "bridge",
            "--pwfile",
            str(password_file),
            "-A",
            "scram-sha-256",
        ]
        command += ["-E", "UTF8", "--locale", "C", "--no-sync"]
        process = self._popen(command, subprocess.PIPE)
        output = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"initdb failed: {output.decode(errors='replace')}")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses = '127.0.0.1'\nunix_socket_directories = '{self._folder}'\n")

    def _popen(self, command: list[str], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program of PostgreSQL; as another user if this one is root, which PostgreSQL refuses."""
        user, group = _somebody() if os.geteuid() == 0 else (None, None)
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is for the tests, which then stop the server
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )

    def _end(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _somebody() -> tuple[int, int]:
    """Return user and group of an account other than root: postgres or nobody."""
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return account.pw_uid, account.pw_gid
    raise PostgresMissing("PostgreSQL refuses root, and this machine has neither a user postgres nor nobody")
