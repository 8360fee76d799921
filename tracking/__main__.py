"""The image's entry point: `serve` (the default), `create-bucket`, `create-webhook`, `example` and `health`."""

import os
import signal
import sys
from pathlib import Path

from tracking import bucket, health, process, settings, volume
from tracking.settings import Settings, Storage


def main(arguments: list[str]) -> int:
    """Do what the arguments say; give the exit status: 2 where settings, volume or bucket are not right.

    Told to stop, a server has done its work, and anything else has not.
    """
    try:
        return _do(arguments or ["serve"])
    except process.Stopped:
        return 0 if arguments in ([], ["serve"]) else 128 + signal.SIGTERM


def _do(arguments: list[str]) -> int:
    match arguments:
        case ["serve"]:
            return serve(Path(settings.VOLUME))
        case ["create-bucket"]:
            return create_bucket()
        case ["create-webhook"]:
            from tracking import client

            return client.create_webhook(os.environ)
        case ["example"]:
            from tracking import client

            return client.register_example()
        case ["health"]:
            return 0 if health.answers(health.address(settings.read(os.environ))) else 1
        case _:
            return _refuse(["give serve, create-bucket, create-webhook, example or health; serve takes no options"])


def serve(folder: Path) -> int:
    """Name everything that is wrong at once, or run the server until it is told to stop."""
    given = settings.read(os.environ, users_exist=(folder / volume.USERS).exists())
    wrong = [*given.problems, *volume.problems(folder, given.database), *_bucket_problem(given.storage)]
    if wrong or given.storage is None:
        return _refuse(wrong)
    try:
        _prepare(given, given.storage, folder)
    except volume.VolumeUnusable as error:
        return _refuse([str(error)])
    command = [sys.executable, "-m", "mlflow", *settings.command(given, given.storage)]
    return process.run(command, lambda: health.serves(given))


def create_bucket() -> int:
    """Make the bucket unless it is there."""
    given = settings.read(os.environ)
    if given.storage is None:
        return _refuse([line for line in given.problems if line.startswith(("ARTIFACTS_", "AWS_", "MLFLOW_S3_"))])
    try:
        made = bucket.create(given.storage)
    except bucket.BucketUnusable as error:
        return _refuse([str(error)])
    print(f"bucket {given.storage.bucket} {'was made' if made else 'is there'}")
    return 0


def _prepare(given: Settings, storage: Storage, folder: Path) -> None:
    """Set the environment that MLflow, its workers and their temporary files live in."""
    for name in [name for name, value in os.environ.items() if settings.is_empty(value)]:
        del os.environ[name]  # to MLflow and boto3 an empty address is one, and an empty number an error
    webhook_key = given.webhook_key or volume.kept_key(folder / volume.WEBHOOK_KEY)
    session_key = given.session_key
    if given.basic_auth:
        session_key = session_key or volume.kept_key(folder / volume.SESSION_KEY)
        os.environ["MLFLOW_AUTH_CONFIG_PATH"] = given.auth_config or str(volume.auth_config(folder))
    os.environ.update(settings.environment(given, storage, webhook_key, session_key))
    os.environ["TMPDIR"] = os.environ.get("TMPDIR") or volume.temporary(folder)


def _bucket_problem(storage: Storage | None) -> list[str]:
    if storage is None:
        return []
    try:
        bucket.check(storage)
    except bucket.BucketUnusable as error:
        return [str(error)]
    return []


def _refuse(lines: list[str]) -> int:
    print("\n".join(["the tracking server can't start:", *(f"- {line}" for line in lines)]), file=sys.stderr)
    return 2


if __name__ == "__main__":
    process.listen()
    sys.exit(main(sys.argv[1:]))
