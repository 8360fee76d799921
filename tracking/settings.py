"""The tracking server's settings, from its environment: what is missing or invalid, and how MLflow starts. Pure.

No message shows a value.
"""

import re
from collections.abc import Mapping

VOLUME = "/mlflow/tracking"
"""The folder for tracking data."""

FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
"""32 bytes in URL-safe base64, as the Fernet specification requires."""

STORAGE = (
    *("ARTIFACTS_BUCKET", "MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "MLFLOW_S3_IGNORE_TLS",
)
"""The variables that describe the bucket."""

_DEFAULTS = {
    "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{VOLUME}/mlflow.db",
    "MLFLOW_HOST": "0.0.0.0",  # noqa: S104  a server in a container listens on all of its addresses
    "MLFLOW_PORT": "5000",
    "MLFLOW_WORKERS": "2",
}

_REQUIRED = {
    "ARTIFACTS_BUCKET": "the name of the S3 bucket for artifacts",
    "AWS_ACCESS_KEY_ID": "the bucket's access key",
    "AWS_SECRET_ACCESS_KEY": "the bucket's secret key",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "the password for the user admin",
}

_GRACE = 2
"""Seconds that pending requests may take when the server is stopped."""

_FLAG = re.compile(r"1|true|yes|on|0|false|no|off", re.IGNORECASE)
_ON = {"1", "true", "yes", "on"}

_FORMS = {
    # Amazon's "General purpose bucket naming rules"
    "ARTIFACTS_BUCKET": (re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"), "use the name of a bucket, such as mlflow"),
    "MLFLOW_S3_ENDPOINT_URL": (
        re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^\s@]*)?"),
        "use an address such as http://s3:9000, or unset it for AWS",
    ),
    "MLFLOW_BACKEND_STORE_URI": (
        re.compile(r"sqlite:////[^/?].*|(postgres|postgresql|postgresql\+psycopg)://[^/]+/[^/?].*"),
        f"use postgresql://user:password@host/name, or unset it for SQLite in {VOLUME}",
    ),
    "MLFLOW_PORT": (re.compile(r"[1-9][0-9]{0,4}"), "use a number such as 5000"),
    "MLFLOW_WORKERS": (re.compile(r"[1-9][0-9]{0,2}"), "use a number such as 2"),
    "MLFLOW_STATIC_PREFIX": (re.compile(r"(/[A-Za-z0-9._~-]+)+"), "use a path such as /mlflow, without a trailing /"),
    "MLFLOW_SERVER_ALLOWED_HOSTS": (
        re.compile(r"(\s*([A-Za-z0-9.*_-]+|\[[0-9A-Fa-f:.*]+\])(:[0-9*]+)?\s*(,(?!$)|$))+"),
        "use host names with ports, as clients write them, such as mlflow.example.com,tracking:5000",
    ),
    "MLFLOW_BASIC_AUTH": (_FLAG, "use true to require passwords, or false"),
    "MLFLOW_S3_IGNORE_TLS": (_FLAG, "use true to accept any certificate of the S3 server, or false"),
    "MLFLOW_AUTH_ADMIN_PASSWORD": (re.compile(r".{12,}"), "use 12 characters or more, as MLflow requires"),
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": (
        FERNET_KEY,
        "use a Fernet key, or unset it to create a key in the volume",
    ),
}


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with their defaults; an empty one counts as not set."""
    return _DEFAULTS | {name: value.strip() for name, value in environ.items() if value.strip()}


def problems(settings: Mapping[str, str], *, users_exist: bool = False) -> dict[str, str]:
    """Return everything that is missing or invalid, by its variable.

    With `users_exist`, basic auth has its database already, and needs the administrator's password no more.
    """
    # 1. Missing. At AWS, a role does as well as keys, but one key needs the other.
    required = ["ARTIFACTS_BUCKET"]
    if settings.keys() & {"MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}:
        required += ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    if is_on(settings, "MLFLOW_BASIC_AUTH") and "MLFLOW_AUTH_CONFIG_PATH" not in settings and not users_exist:
        required.append("MLFLOW_AUTH_ADMIN_PASSWORD")
    missing = {name: f"{name} is not set: set it to {_REQUIRED[name]}" for name in required if name not in settings}

    # 2. Invalid.
    return missing | {
        name: f"{name} is invalid: {hint}"
        for name, (form, hint) in _FORMS.items()
        if name in settings and not form.fullmatch(settings[name])
    }


def is_on(settings: Mapping[str, str], name: str) -> bool:
    """Return whether a variable that may be true or false is true."""
    return settings.get(name, "").lower() in _ON


def command(settings: Mapping[str, str]) -> list[str]:
    """Return the arguments of `mlflow`; what may contain a password is only in the environment."""
    options, prefix = settings.get("MLFLOW_UVICORN_OPTS", ""), settings.get("MLFLOW_STATIC_PREFIX")
    return [
        *("server", "--host", settings["MLFLOW_HOST"], "--port", settings["MLFLOW_PORT"]),
        *("--workers", settings["MLFLOW_WORKERS"], "--uvicorn-opts"),
        f"--timeout-graceful-shutdown {_GRACE} {options}".strip(),
        *("--serve-artifacts", "--artifacts-destination", f"proxied-s3://{settings['ARTIFACTS_BUCKET']}"),
        *(("--static-prefix", prefix) if prefix else ()),
        *(("--app-name", "basic-auth") if is_on(settings, "MLFLOW_BASIC_AUTH") else ()),
    ]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of MLflow and boto3."""
    # The image has psycopg 3 as the driver of PostgreSQL.
    database = re.sub(r"^postgres[^:]*://", "postgresql+psycopg://", settings["MLFLOW_BACKEND_STORE_URI"])
    # MLflow accepts fewer words for it than we do.
    ignore_tls = str(is_on(settings, "MLFLOW_S3_IGNORE_TLS")).lower()
    result = {**settings, "MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_S3_IGNORE_TLS": ignore_tls}
    if "MLFLOW_S3_ENDPOINT_URL" in settings:
        # Not every S3 server supports the checksums that AWS added in 2025.
        result.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        result.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    return result
