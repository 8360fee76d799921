"""The folder with the tracking data: whether it can be used, and the keys that are made once and kept in it."""

import base64
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from tracking.settings import is_fernet_key

WEBHOOK_KEY = "webhook.key"
SESSION_KEY = "session.key"
USERS = "basic_auth.db"
_AUTH_CONFIG = "basic_auth.ini"
_TEMPORARY = "tmp"


class VolumeUnusable(Exception):
    """What is wrong with the folder, in one line."""


def problems(folder: Path, database: str | None) -> tuple[str, ...]:
    """Name what this user can't write: the folder, a file in it, or SQLite's file wherever it is."""
    found = []
    places = [folder, *([Path(database).parent] if database and Path(database).parent != folder else [])]
    for place in places:
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            found.append(_refused(place, error.strerror or type(error).__name__))
    files = [folder / name for name in (WEBHOOK_KEY, SESSION_KEY, USERS)]
    for file in [*files, *([Path(database)] if database else [])]:
        found += [_refused(file, "Permission denied")] if _exists(file) and not _writable(file) else []
    return tuple(found)


def kept_key(file: Path) -> str:
    """Give the key in the file; where there is none, make one, with mode 600. Of two that make it at once one wins."""
    with suppress(FileNotFoundError):
        return _read(file)
    made = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        made.touch(mode=0o600, exist_ok=False)
        with made.open("wb") as opened:
            opened.write(base64.urlsafe_b64encode(os.urandom(32)) + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        with suppress(FileExistsError):
            os.link(made, file)
    except OSError as error:
        raise VolumeUnusable(_refused(file, error.strerror or type(error).__name__)) from error
    finally:
        made.unlink(missing_ok=True)
    return _read(file)


def auth_config(folder: Path) -> Path:
    """Write the configuration of MLflow's basic auth, with its users in this folder; no password is in it."""
    file = folder / _AUTH_CONFIG
    file.write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{folder / USERS}\n"
        "admin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )
    return file


def temporary(folder: Path) -> str:
    """Give a folder for temporary files: the system's, or an empty one here where the root is read-only."""
    with suppress(OSError), tempfile.TemporaryFile(dir="/tmp"):
        return "/tmp"  # noqa: S108  what is made there gets names that nobody can guess
    own = folder / _TEMPORARY
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(mode=0o700, exist_ok=True)
    return str(own)


def _read(file: Path) -> str:
    try:
        key = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise VolumeUnusable(f"{file} can't be read ({type(error).__name__}): give it back to this user") from error
    if not is_fernet_key(key):
        raise VolumeUnusable(f"{file} holds no key: restore it, or remove it and register the webhooks again")
    return key


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # the folder itself can't be looked into, which is told of the folder
        return False


def _writable(file: Path) -> bool:
    return os.access(file, os.R_OK | os.W_OK)


def _refused(place: Path, why: str) -> str:
    return (
        f"{place} can't be written by user {os.getuid()}:{os.getgid()} ({why}): "
        "give the volume to that user, or start as the user that owns it"
    )
