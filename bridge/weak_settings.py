"""Settings that work but protect too little. They are reported, not refused: the operator may know better."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bridge.settings import Settings, is_loopback

SECRET_LENGTH: Final = 16
"""Characters of the webhook's secret. Anyone with one delivery can guess it offline, as fast as machines allow."""

PASSWORD_LENGTH: Final = 12
"""Characters, as MLflow requires for its own administrator. Each guess needs a request, which the bridge delays."""

DISTINCT: Final = 6
"""Different characters. A text with fewer, such as a repeated word of four letters, is quickly guessed."""


@dataclass(frozen=True)
class Weakness:
    """What is weak about a setting, and how to fix it; no text holds a value."""

    setting: str
    problem: str
    fix: str


def find(settings: Settings) -> Iterator[Weakness]:
    """Yield every weakness; reads only the modes of files."""
    for setting, secret, length in (
        ("MLFLOW_WEBHOOK_SECRET", settings.mlflow_webhook_secret, SECRET_LENGTH),
        ("MLFLOW_WEBHOOK_SECRET_PREVIOUS", settings.mlflow_webhook_secret_previous, SECRET_LENGTH),
        ("ADMIN_PASSWORD", settings.admin_password, PASSWORD_LENGTH),
    ):
        text = secret.get_secret_value() if secret else None
        if text is not None and (len(text) < length or len(set(text)) < DISTINCT):
            problem = (
                f"it is easy to guess, with fewer than {length} characters or fewer than {DISTINCT} different ones"
            )
            yield Weakness(setting, problem, "set it to a long random text, such as `openssl rand -hex 24` prints")
    if not settings.allow_plain_http:
        for setting, url in _credentials_go_to(settings):
            if _is_plain_http(url):
                problem = "it is http, so anyone on the network path can read the credentials"
                yield Weakness(
                    setting, problem, "give its https address, or set ALLOW_PLAIN_HTTP=true in a private network"
                )
    for setting, file in (
        ("GITHUB_APP_PRIVATE_KEY_FILE", settings.github_app_private_key_file),
        (".env", Path(".env")),
    ):
        if file and _others_may_read(file):
            yield Weakness(setting, "every user of this machine can read or change the file", f"run `chmod o= {file}`")


def _credentials_go_to(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the settings and addresses that a token or a password is sent to."""
    yield "GITHUB_API_URL", settings.github_api_url
    mlflow = settings.mlflow_tracking_uri
    if mlflow and (settings.mlflow_tracking_password or settings.mlflow_tracking_token or urlsplit(mlflow).password):
        yield "MLFLOW_TRACKING_URI", mlflow


def _is_plain_http(url: str) -> bool:
    return url.lower().startswith("http://") and not is_loopback(url)


def _others_may_read(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False
