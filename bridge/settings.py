"""The settings of the serving process, from the environment and `.env`, read once."""

import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, StringConstraints, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bridge.core import addresses, routes_file
from bridge.core.addresses import is_loopback
from bridge.core.errors import BridgeError
from bridge.core.limits import MAX_EVENT_TYPE
from bridge.core.routes_file import EventType, Repository, RoutesInvalid
from bridge.core.routing import Route

_Url = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~/-]*)?$")]
_AppId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
_Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]

_Kind = TypeVar("_Kind", bound="RouteSettings")

_KNOWN: Final = "its secret is a sample from the documentation, which everyone knows"

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})


_SAMPLES: Final = frozenset({"a-long-random-text", "another-one", "for-this-network-alone", "demo", "password"})
"""Secrets that the documentation and compose.yaml show, or showed in an earlier release: everyone knows them."""


class SettingsInvalid(BridgeError):
    """Settings are missing or wrong; `problems` names every one in a line, without any value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class _Problem(ValueError):
    """What is wrong in whole lines, where it is not about one field's value alone."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


class RouteSettings(BaseSettings):
    """Where events go: all that is needed to tell what would go out.

    An empty variable counts as unset; a field's description is the mend in messages.

    A check that is about several fields stands at the last of them: there it runs even where others are wrong, so that
    everything is named at once (defaults are validated too). A field that is wrong itself counts as set there.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    github_event_type: EventType = Field(
        default="mlflow-model-version",
        description=f"give the workflow's repository_dispatch type, {MAX_EVENT_TYPE} characters at most",
    )
    routes_file: Annotated[tuple[Route, ...] | None, NoDecode] = Field(
        default=None, description="give the TOML file of the routes, or leave it out where there is GITHUB_REPOSITORY"
    )
    """What stands in the file."""
    github_repository: Repository | None = Field(
        default=None,
        description="set it to the repository whose workflow builds the images, as owner/name",
    )

    @field_validator("routes_file", mode="before")
    @classmethod
    def _read_routes(cls, given: object, info: ValidationInfo) -> object:
        if not isinstance(given, str):
            return given
        path = Path(given)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ValueError(f"it can't be read: {type(error).__name__}") from error
        try:
            return routes_file.read(text, name=path.name, event_type=info.data.get("github_event_type", ""))
        except RoutesInvalid as error:
            raise _Problem(*error.problems) from error

    @field_validator("github_repository")
    @classmethod
    def _is_the_only_way(cls, repository: str | None, info: ValidationInfo) -> str | None:
        if repository is None and not _given(info, "routes_file"):
            raise _Problem(f"GITHUB_REPOSITORY is not set: {_mend('github_repository')}, or give ROUTES_FILE")
        if repository is not None and _given(info, "routes_file"):
            raise _Problem("GITHUB_REPOSITORY and ROUTES_FILE are both set: leave one of them out")
        return repository

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes of the file, or the one that the environment gives."""
        if self.routes_file is not None:
            return self.routes_file
        return (Route("environment", self.github_repository or "", self.github_event_type),)

    @property
    def repositories(self) -> tuple[str, ...]:
        """The repositories that any route names, sorted."""
        return tuple(sorted({route.repository for route in self.routes}))


class Settings(RouteSettings):
    """What the operator decides."""

    mlflow_tracking_uri: str | None = Field(
        default=None,
        repr=False,
        exclude=True,  # it may hold a password
        description="give the address of MLflow's tracking server, such as https://mlflow.example.com, or leave it out",
    )
    mlflow_tracking_username: str | None = Field(default=None, description="give the user's name at MLflow")
    mlflow_tracking_password: SecretStr | None = Field(default=None, description="give that user's password")
    mlflow_tracking_token: SecretStr | None = Field(default=None, description="give a token of MLflow's")
    allow_plain_http: bool = Field(
        default=False,
        description="give true if the bridge calls MLflow or GitHub over http inside a private network",
    )
    mlflow_tracking_server_cert_path: Path | None = Field(
        default=None, description="give a file or folder of CA certificates that this process may read"
    )
    reconcile_interval: float = Field(
        default=300.0,
        ge=0,
        allow_inf_nan=False,
        description="give the seconds between two looks at MLflow, such as 300, or 0 for none",
    )

    mlflow_webhook_secret: SecretStr | None = Field(
        default=None,
        description="set it to the secret that MLflow's webhook is registered with",
    )
    mlflow_webhook_secret_previous: SecretStr | None = Field(
        default=None, description="set it to the secret before the last, or leave it out"
    )
    max_timestamp_age: float = Field(
        default=300.0, gt=0, allow_inf_nan=False, description="give the seconds that a delivery may be old, such as 300"
    )
    host: str = Field(default="0.0.0.0", description="give the address to listen at, such as 0.0.0.0")  # noqa: S104  a server in a container listens on all of its addresses
    port: int = Field(default=8000, ge=0, le=65535, description="give a port such as 8000")

    github_app_private_key_file: Path | None = Field(
        default=None, repr=False, description="give the file of the App's private key, in PEM form"
    )
    github_app_private_key: SecretStr | None = Field(
        default=None,
        description="give the private key that GitHub made for the App, in PEM form, or GITHUB_APP_PRIVATE_KEY_FILE",
    )
    """The key itself, also where it was in the file."""
    github_app_id: _AppId | None = Field(default=None, description="set it to the App's client id or number")
    github_token: SecretStr | None = Field(
        default=None,
        description="set it to a token with contents=write on the repository, or sign in as an App by GITHUB_APP_ID",
    )
    github_api_url: _Url = Field(
        default="https://api.github.com",
        description="give an address such as https://api.github.com or https://ghes.example.com/api/v3",
    )
    github_api_version: _Version = Field(
        default="2022-11-28", description="give a version of GitHub's REST API, such as 2022-11-28"
    )
    github_dispatch_interval: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="give the seconds between two dispatches, such as 1.0"
    )
    github_poll_interval: float = Field(
        default=15.0,
        gt=0,
        allow_inf_nan=False,
        description="give the seconds between two looks at the runs, such as 15",
    )
    dispatch_settle: float = Field(
        default=120.0, ge=0, allow_inf_nan=False, description="give the seconds until GitHub shows a run, such as 120"
    )
    database_url: str = Field(
        default=f"{_SQLITE}mlflow-bridge.db",
        repr=False,
        exclude=True,  # it may hold a password
        description="give a file of SQLite's, such as sqlite:////data/mlflow-bridge.db, or postgresql://user:password@host/name",
    )
    admin_password: SecretStr | None = Field(
        default=None, description="set it to the password of the user admin at the status page, or leave it out"
    )
    log_format: Literal["json", "console"] = Field(default="json", description="give json or console")

    @field_validator(
        "mlflow_tracking_password",
        "mlflow_tracking_token",
        "mlflow_webhook_secret",
        "mlflow_webhook_secret_previous",
        "admin_password",
    )
    @classmethod
    def _is_no_sample(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and secret.get_secret_value().strip() in _SAMPLES:
            raise ValueError(_KNOWN)
        return secret

    @field_validator("mlflow_tracking_uri", "database_url")
    @classmethod
    def _holds_no_sample(cls, url: str | None) -> str | None:
        if url is not None and _password(url) in _SAMPLES and not is_loopback(url):
            raise ValueError(_KNOWN)
        return url

    @field_validator("mlflow_tracking_uri")
    @classmethod
    def _is_a_tracking_server(cls, uri: str | None) -> str | None:
        if uri is not None and not (addresses.parts(uri)[0] in ("http", "https") and addresses.parts(uri)[1]):
            raise ValueError("only MLflow behind http or https can be asked")
        return uri

    @field_validator("mlflow_tracking_password")
    @classmethod
    def _comes_with_a_user(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (password is not None) != _given(info, "mlflow_tracking_username"):
            raise _Problem("MLFLOW_TRACKING_USERNAME or MLFLOW_TRACKING_PASSWORD is set alone: set both or neither")
        return password

    @field_validator("mlflow_tracking_server_cert_path")
    @classmethod
    def _exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.exists():
            raise ValueError("there is no such file or folder")
        if path is not None and path.is_file():
            try:
                ssl.create_default_context(cafile=path)
            except OSError as error:
                raise ValueError("it can't be read as CA certificates: give a PEM file") from error
        return path

    @field_validator("mlflow_webhook_secret")
    @classmethod
    def _is_there_unless_mlflow_is_asked(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if secret is None and not (_given(info, "mlflow_tracking_uri") and info.data.get("reconcile_interval", True)):
            raise _Problem(f"MLFLOW_WEBHOOK_SECRET is not set: {_mend('mlflow_webhook_secret')}")
        return secret

    @field_validator("mlflow_webhook_secret_previous")
    @classmethod
    def _comes_after_a_secret(cls, previous: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if previous is not None and not _given(info, "mlflow_webhook_secret"):
            raise ValueError("MLFLOW_WEBHOOK_SECRET is not set")
        return previous

    @field_validator("github_app_private_key")
    @classmethod
    def _read_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        file = info.data.get("github_app_private_key_file")
        if key is not None and file is not None:
            raise _Problem("GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_FILE are both set: leave one of them out")
        name = "GITHUB_APP_PRIVATE_KEY"
        if file is not None:
            name = "GITHUB_APP_PRIVATE_KEY_FILE"
            try:
                key = SecretStr(file.read_text(encoding="ascii"))
            except (OSError, ValueError) as error:
                raise _Problem(f"{name} is wrong (it can't be read: {type(error).__name__}): {_mend(name)}") from error
        return None if key is None else _rsa_key(key, name)

    @field_validator("github_app_id")
    @classmethod
    def _comes_with_a_key(cls, app: str | None, info: ValidationInfo) -> str | None:
        if app is not None and not _given(info, "github_app_private_key"):
            raise _Problem(f"GITHUB_APP_PRIVATE_KEY is not set: {_mend('github_app_private_key')}")
        return app

    @field_validator("github_token")
    @classmethod
    def _is_the_only_sign_in(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        app, key = _given(info, "github_app_id"), _given(info, "github_app_private_key")
        if token is None:
            if not app and not key:
                raise _Problem(f"GITHUB_TOKEN is not set: {_mend('github_token')}")
            if not app:
                raise _Problem(f"GITHUB_APP_ID is not set and the App's private key is: {_mend('github_app_id')}")
            return None
        if app or key:
            raise _Problem("GITHUB_TOKEN and an App's id or key are both set: leave one way to sign in out")
        return _fits_a_header(token)

    @field_validator("database_url")
    @classmethod
    def _is_a_file_or_a_server(cls, url: str) -> str:
        if url.startswith(_SQLITE):
            if url.removeprefix(_SQLITE) in ("", ":memory:") or "?" in url:
                raise ValueError("SQLite keeps the ledger in a file alone")
            return url
        scheme, host, path = addresses.parts(url)
        if scheme not in _POSTGRESQL or not host or not path.strip("/"):
            raise ValueError("only SQLite in a file and PostgreSQL are supported")
        return url

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that a signature may be made with, today's first; none where the reconciler works alone."""
        both = (self.mlflow_webhook_secret, self.mlflow_webhook_secret_previous)
        return tuple(secret.get_secret_value() for secret in both if secret)

    @property
    def reconciles(self) -> bool:
        """Tell whether MLflow's registry is asked for what no delivery told of."""
        return self.mlflow_tracking_uri is not None and self.reconcile_interval > 0


def load() -> Settings:
    """Read the settings; raises `SettingsInvalid` with everything that is missing or wrong at once."""
    return _load(Settings)


def load_routes(file: Path | None = None) -> tuple[Route, ...]:
    """Read the routes alone, of this file where one is given; raises `SettingsInvalid`."""
    if file is None:
        return _load(RouteSettings).routes
    return _load(RouteSettings, routes_file=str(file), github_repository=None).routes


def _load(kind: type[_Kind], **given: Any) -> _Kind:
    try:
        return kind(**given)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise SettingsInvalid(tuple(line for one in problems for line in _lines(one))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid((f".env can't be read ({type(error).__name__}): make it a UTF-8 text file",)) from None


def _lines(problem: Any) -> tuple[str, ...]:
    told = problem.get("ctx", {}).get("error")
    if isinstance(told, _Problem):
        return told.lines
    field, said = str(problem["loc"][0]), problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "string_pattern_mismatch":
        said = "it is not of that form"
    return (f"{field.upper()} is wrong ({said}): {_mend(field)}",)


def _mend(field: str) -> str:
    return str(Settings.model_fields[field.lower()].description)


def _given(info: ValidationInfo, field: str) -> bool:
    """Tell whether an earlier field is set, be it rightly or wrongly (then it is not in the data)."""
    return info.data.get(field, True) is not None


def _password(url: str) -> str | None:
    """Give the password in an address, decoded."""
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return None


def _fits_a_header(token: SecretStr) -> SecretStr:
    text = token.get_secret_value().strip()
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("it holds characters that no token has")
    return SecretStr(text)


def _rsa_key(key: SecretStr, name: str) -> SecretStr:
    """Give the key with real line feeds: many a secret store writes them as two characters.

    cryptography is imported only here, because it costs some megabytes that a token needs not.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = key.get_secret_value().replace("\\n", "\n").strip() + "\n"
    try:
        fits = isinstance(load_pem_private_key(text.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError):  # no PEM, or one with a password; UnsupportedAlgorithm is no RSA key either
        fits = False
    if not fits:
        raise _Problem(f"{name} is wrong (it is no RSA key in PEM form without a password): {_mend(name)}")
    return SecretStr(text)


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


def find_weaknesses(settings: Settings) -> Iterator[Weakness]:
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
