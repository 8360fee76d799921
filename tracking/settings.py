"""The settings of the tracking server, from its environment: what is wrong, and what MLflow is started with.

Pure: nothing is looked at but the environment that is given. No problem's text shows a value.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

VOLUME = "/mlflow/tracking"
"""The folder for tracking data."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""Source: Amazon's "General purpose bucket naming rules"."""
_HOST = re.compile(r"[A-Za-z0-9.*_-]+(:[0-9*]+)?|\[[0-9A-Fa-f:.*]+\](:[0-9*]+)?")
_GRACE = 2
"""Seconds that requests under way may take when the server is told to stop."""
_PASSWORD = 12
"""MLflow takes no shorter one."""
_ON, _OFF = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True)
class Storage:
    """The bucket for artifacts. Without an endpoint it is at AWS, without keys boto3 finds them its own way."""

    bucket: str
    endpoint: str | None
    verify: bool = True


@dataclass(frozen=True)
class Settings:
    """What the environment says; `problems` names in a line each what is missing or wrong.

    `storage` is None where its variables are not right. A key that is None is to be kept in the volume.
    """

    storage: Storage | None
    backend_store_uri: str
    host: str
    port: str
    workers: str
    static_prefix: str
    uvicorn_options: str
    basic_auth: bool
    auth_config: str | None
    webhook_key: str | None
    session_key: str | None
    problems: tuple[str, ...]

    @property
    def database(self) -> str | None:
        """Give SQLite's file, where the tracking data is in one."""
        scheme, slashes, path = self.backend_store_uri.partition(":///")
        return path if slashes and scheme == "sqlite" else None


def read(given: Mapping[str, str], *, users_exist: bool = False) -> Settings:
    """Give the settings with all their problems. A variable that is empty counts as not set.

    `users_exist`: there is a database of users already, so the admin's password is needed no more.
    """
    environ = {name: value.strip() for name, value in given.items() if not is_empty(value)}
    problems: list[str] = []
    return Settings(
        storage=_storage(environ, problems),
        backend_store_uri=_backend(environ, problems),
        host=environ.get("MLFLOW_HOST", "0.0.0.0"),  # noqa: S104  a server in a container listens on all of its addresses
        port=_number(environ, "MLFLOW_PORT", "5000", 65535, problems),
        workers=_number(environ, "MLFLOW_WORKERS", "2", 1000, problems),
        static_prefix=_prefix(environ, problems),
        uvicorn_options=environ.get("MLFLOW_UVICORN_OPTS", ""),
        basic_auth=_auth(environ, users_exist, problems),
        auth_config=environ.get("MLFLOW_AUTH_CONFIG_PATH"),
        webhook_key=_fernet(environ, problems),
        session_key=environ.get("MLFLOW_FLASK_SERVER_SECRET_KEY"),
        problems=(*problems, *_hosts(environ)),
    )


def is_empty(value: str) -> bool:
    """Tell whether a variable of this value counts as not set."""
    return not value.strip()


def command(settings: Settings, storage: Storage) -> list[str]:
    """Give the arguments of `mlflow`; what may hold a password is in the environment alone."""
    options = f"--timeout-graceful-shutdown {_GRACE} {settings.uvicorn_options}".strip()
    return [
        *("server", "--host", settings.host, "--port", settings.port, "--workers", settings.workers),
        *("--serve-artifacts", "--artifacts-destination", f"proxied-s3://{storage.bucket}", "--uvicorn-opts", options),
        *(("--static-prefix", settings.static_prefix) if settings.static_prefix else ()),
        *(("--app-name", "basic-auth") if settings.basic_auth else ()),
    ]


def environment(settings: Settings, storage: Storage, webhook_key: str, session_key: str | None) -> dict[str, str]:
    """Give what MLflow finds in its environment besides what is there."""
    session = {"MLFLOW_FLASK_SERVER_SECRET_KEY": session_key} if session_key else {}
    return {
        "MLFLOW_BACKEND_STORE_URI": settings.backend_store_uri,
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": webhook_key,
        "MLFLOW_S3_IGNORE_TLS": "false" if storage.verify else "true",
        **session,
        **s3_environment(storage),
    }


def s3_environment(storage: Storage) -> dict[str, str]:
    """Give what makes boto3 talk to any S3: not every server knows the checksums that AWS added in 2025."""
    if storage.endpoint is None:
        return {}
    return {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}


def _storage(environ: Mapping[str, str], problems: list[str]) -> Storage | None:
    before = len(problems)
    bucket, endpoint = environ.get("ARTIFACTS_BUCKET"), environ.get("MLFLOW_S3_ENDPOINT_URL")
    if bucket is None:
        problems.append("ARTIFACTS_BUCKET is not set: set it to the name of the S3 bucket for artifacts")
    elif not _BUCKET.fullmatch(bucket):
        problems.append("ARTIFACTS_BUCKET is wrong (it is no bucket's name): give the bare name, such as mlflow")
    if endpoint is not None and not _is_address(endpoint):
        problems.append(
            "MLFLOW_S3_ENDPOINT_URL is wrong (it is no address): give one such as http://s3:9000, or none for AWS"
        )
    keys = {name: name in environ for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    if endpoint is not None or any(keys.values()):
        problems += (f"{name} is not set: set it to the bucket's {_KEYS[name]}" for name in keys if not keys[name])
    any_certificate = _flag(environ, "MLFLOW_S3_IGNORE_TLS", "take any certificate of the S3 server", problems)
    if bucket is None or len(problems) > before:
        return None
    return Storage(bucket, endpoint, not any_certificate)


_KEYS = {"AWS_ACCESS_KEY_ID": "access key", "AWS_SECRET_ACCESS_KEY": "secret key"}


def _backend(environ: Mapping[str, str], problems: list[str]) -> str:
    """Give the database's address with the driver that is in the image."""
    uri = environ.get("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{VOLUME}/mlflow.db")
    scheme, _, rest = uri.partition("://")
    if scheme == "sqlite" and re.match(r"//[^/?]", rest):
        return uri
    if scheme in ("postgres", "postgresql", "postgresql+psycopg") and re.match(r"[^/]+/[^/?]", rest):
        return f"postgresql+psycopg://{rest}"
    problems.append(
        "MLFLOW_BACKEND_STORE_URI is wrong (it is neither PostgreSQL nor SQLite in a file with its whole path): "
        f"give postgresql://user:password@host/name, or none for SQLite in {VOLUME}"
    )
    return uri


def _number(environ: Mapping[str, str], name: str, default: str, most: int, problems: list[str]) -> str:
    text = environ.get(name, default)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        problems.append(f"{name} is wrong (it is no number from 1 to {most}): give one such as {default}")
    return text


def _prefix(environ: Mapping[str, str], problems: list[str]) -> str:
    prefix = environ.get("MLFLOW_STATIC_PREFIX", "")
    if prefix and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", prefix):
        problems.append(
            "MLFLOW_STATIC_PREFIX is wrong (it is no path): give one such as /mlflow, without a / at its end"
        )
    return prefix


def _hosts(environ: Mapping[str, str]) -> list[str]:
    given = environ.get("MLFLOW_SERVER_ALLOWED_HOSTS")
    if given is None or all(_HOST.fullmatch(host.strip()) for host in given.split(",")):
        return []
    return [
        "MLFLOW_SERVER_ALLOWED_HOSTS is wrong (it is no list of hosts): "
        "give names as clients write them, with the port, such as mlflow.example.com,tracking:5000"
    ]


def _auth(environ: Mapping[str, str], users_exist: bool, problems: list[str]) -> bool:
    wanted = _flag(environ, "MLFLOW_BASIC_AUTH", "ask for passwords", problems)
    if wanted and "MLFLOW_AUTH_CONFIG_PATH" not in environ:
        password = environ.get("MLFLOW_AUTH_ADMIN_PASSWORD")
        if password is None and not users_exist:
            problems.append("MLFLOW_AUTH_ADMIN_PASSWORD is not set: set it to the password that the admin is to have")
        elif password is not None and len(password) < _PASSWORD:
            problems.append(f"MLFLOW_AUTH_ADMIN_PASSWORD is wrong (too short): give {_PASSWORD} characters or more")
    return wanted


def _flag(environ: Mapping[str, str], name: str, what: str, problems: list[str]) -> bool:
    given = environ.get(name, "").lower()
    if given not in _ON | _OFF:
        problems.append(f"{name} is wrong (it is neither true nor false): give true to {what}")
    return given in _ON


def _fernet(environ: Mapping[str, str], problems: list[str]) -> str | None:
    key = environ.get("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY")
    if key is not None and not is_fernet_key(key):
        problems.append(
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY is wrong (it is no Fernet key): "
            "give 32 random bytes in URL-safe base64, or none to have one made and kept in the volume"
        )
    return key


def is_fernet_key(text: str) -> bool:
    """Tell whether it is a key as the Fernet specification has it: 32 bytes in URL-safe base64."""
    if not re.fullmatch(r"[A-Za-z0-9_=-]+", text):
        return False
    try:
        return len(base64.urlsafe_b64decode(text)) == 32
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
