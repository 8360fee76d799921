"""The image's entry point: `serve` (the default), `create-bucket`, `example` and `health`."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tracking import bucket, settings, volume
from tracking.bucket import BucketUnusable
from tracking.volume import VolumeUnusable

_SECONDS = 2.5
"""Time for the server to stop: that of pending requests, and half a second."""
_STOPS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """This process got SIGTERM or SIGINT."""


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit status: 2 if settings, volume or bucket are unusable."""
    commands = {"serve": serve, "create-bucket": create_bucket, "example": example, "health": health}
    name = arguments[0] if arguments else "serve"
    if len(arguments) > 1 or name not in commands:
        return _refuse([f"unknown command: use one of {', '.join(commands)}, without options"])
    try:
        return commands[name]()
    except Stopped:
        return 0 if name == "serve" else 128 + signal.SIGTERM


def serve(folder: Path = Path(settings.VOLUME)) -> int:
    """Run the server until it is stopped; everything that is missing or invalid is reported at once instead."""
    values = settings.read(os.environ)
    _set_environment(settings.environment(values))

    # 1. Check settings, volume and bucket.
    invalid = settings.problems(values, users_exist=(folder / volume.USERS).exists())
    problems = list(invalid.values())
    try:
        volume.check(folder)
    except VolumeUnusable as error:
        problems.append(str(error))
    if not invalid.keys() & set(settings.STORAGE):
        try:
            bucket.check(values)
        except BucketUnusable as error:
            problems.append(str(error))
    if problems:
        return _refuse(problems)

    # 2. Prepare what is kept in the volume: the keys, and the users of basic auth.
    files = {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": volume.WEBHOOK_KEY}
    if settings.is_on(values, "MLFLOW_BASIC_AUTH"):
        files["MLFLOW_FLASK_SERVER_SECRET_KEY"] = volume.SESSION_KEY
        if "MLFLOW_AUTH_CONFIG_PATH" not in values:
            os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(volume.auth_config(folder))
    try:
        os.environ.update({name: volume.kept_key(folder / file) for name, file in files.items() if name not in values})
    except VolumeUnusable as error:
        return _refuse([str(error)])
    if "TMPDIR" not in values:
        os.environ["TMPDIR"] = volume.temporary(folder)

    # 3. Run MLflow.
    return run([sys.executable, "-m", "mlflow", *settings.command(values)])


def run(command: Sequence[str], seconds: float = _SECONDS) -> int:
    """Run the server and return the exit status: 0 after a stop, which takes at most `seconds`.

    A server that ends for any other reason has failed.
    """
    # A stop that arrives while the server is being started waits until there is a server to stop.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    server = subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS),
    )
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        return server.wait() or 1
    except Stopped:
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
        os.killpg(server.pid, signal.SIGTERM)  # to its workers, too: the server itself checks for signals rarely
        with suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
        return 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def create_bucket() -> int:
    """Create the bucket unless it exists."""
    values = settings.read(os.environ)
    if problems := [text for name, text in settings.problems(values).items() if name in settings.STORAGE]:
        return _refuse(problems)
    _set_environment(settings.environment(values))
    try:
        is_new = bucket.create(values)
    except BucketUnusable as error:
        return _refuse([str(error)])
    print(f"bucket {values['ARTIFACTS_BUCKET']} {'created' if is_new else 'exists'}")
    return 0


def example() -> int:
    """Register an example model."""
    from tracking.example import register

    register()
    return 0


def health() -> int:
    """Return 0 if the server in this container answers 200; it asks for no password, and checks no host name."""
    values = settings.read(os.environ)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(values["MLFLOW_HOST"], values["MLFLOW_HOST"])  # noqa: S104  compared
    prefix = values.get("MLFLOW_STATIC_PREFIX", "")
    url = f"http://{f'[{host}]' if ':' in host else host}:{values['MLFLOW_PORT']}{prefix}/health"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=4.0) as answer:
            return int(answer.status != 200)
    except OSError:
        return 1


def listen() -> None:
    """Raise `Stopped` at SIGTERM or SIGINT; by default, a container's first process ignores them."""
    for number in _STOPS:
        signal.signal(number, _stop)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()  # to MLflow and boto3, an empty variable is a value
    os.environ.update(values)


def _refuse(lines: list[str]) -> int:
    print("\n".join(["the tracking server can't start:", *(f"- {line}" for line in lines)]), file=sys.stderr)
    return 2


if __name__ == "__main__":
    listen()
    sys.exit(main(sys.argv[1:]))
