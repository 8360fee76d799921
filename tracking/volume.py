"""The folder with the tracking data: whether this user can use it, and the keys that are kept there."""

import base64
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from tracking.settings import FERNET_KEY

WEBHOOK_KEY = "webhook.key"
SESSION_KEY = "session.key"
USERS = "basic_auth.db"


class VolumeUnusable(Exception):
    """What is wrong with a file or folder, in one line."""


def check(folder: Path) -> None:
    """Raise `VolumeUnusable` for the folder or the first of its keys and databases that this user cannot write."""
    path = folder
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        for path in sorted(path for path in folder.iterdir() if path.suffix in (".db", ".key")):
            with path.open("r+b"):
                pass
    except OSError as error:
        raise _unusable(path, error) from error


def kept_key(file: Path) -> str:
    """Return the key in the file, which is created with mode 600 if missing.

    Of several processes that create it at once, one wins. A damaged key is never replaced, because webhooks' secrets
    are encrypted with it.
    """
    try:
        if not file.exists():
            with tempfile.NamedTemporaryFile(dir=file.parent) as new:  # mode 600
                new.write(base64.urlsafe_b64encode(os.urandom(32)) + b"\n")
                new.flush()
                os.fsync(new.fileno())
                with suppress(FileExistsError):
                    os.link(new.name, file)
        key = file.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        key = ""
    except OSError as error:
        raise _unusable(file, error) from error
    if not FERNET_KEY.fullmatch(key):
        raise VolumeUnusable(f"{file} contains no key: restore it, or delete it and create the webhooks again")
    return key


def auth_config(folder: Path) -> Path:
    """Write the configuration of MLflow's basic auth, with its users in this folder; it contains no password."""
    file = folder / "basic_auth.ini"
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
    """Return a folder for temporary files: the system's, or an empty one here if the root is read-only."""
    with suppress(OSError), tempfile.TemporaryFile(dir="/tmp"):
        return "/tmp"  # noqa: S108  files there get unpredictable names
    own = folder / "tmp"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(mode=0o700, exist_ok=True)
    return str(own)


def _unusable(path: Path, error: OSError) -> VolumeUnusable:
    user = f"{os.getuid()}:{os.getgid()}"
    return VolumeUnusable(
        f"{path} can't be used by user {user} ({error.strerror}): "
        "change the owner of the volume, or run the container as its owner"
    )
