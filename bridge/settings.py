"""The settings of the serving process, from the environment and `.env`, read once."""

import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bridge.core import addresses, routes_file
from bridge.core.addresses import is_loopback
from bridge.core.errors import BridgeError, Problem
from bridge.core.limits import MAX_EVENT_TYPE
from bridge.core.routes_file import EventType, Repository, RoutesInvalid
from bridge.core.routing import Route

_Url = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~/-]*)?$")]
_AppId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
_Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]

_Kind = TypeVar("_Kind", bound="RouteSettings")

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})

_SAMPLES: Final = frozenset({"a-long-random-text", "another-one", "for-this-network-alone", "demo", "password"})
"""Secrets that the documentation and compose.yaml show, or showed in an earlier release: everyone knows them."""

_IS_SAMPLE: Final = "this secret is a sample from the documentation, which everyone knows"


class SettingsInvalid(BridgeError):
    """Settings are missing or invalid; `problems` has all of them, without any value."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class _RoutesProblems(ValueError):
    """Carries the problems of the routes file through pydantic."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__()
        self.problems = problems


class RouteSettings(BaseSettings):
    """The settings that decide where events are dispatched. Raises `SettingsInvalid` with all problems at once.

    An empty variable counts as unset. A field's description is a noun phrase, then sentences about its effect; the
    phrase and the first example make the hint for an invalid value. That of a boolean starts with "Whether".
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    github_event_type: EventType = Field(
        default="mlflow-model-version",
        description=f"Type of the repository_dispatch events, at most {MAX_EVENT_TYPE} characters. "
        "The workflow starts if `types` in its `on:` lists it.",
        examples=["mlflow-model-version"],
    )
    routes_file: Annotated[tuple[Route, ...] | None, NoDecode] = Field(
        default=None,
        description="Path of the TOML file with the routes. It replaces `GITHUB_REPOSITORY`.",
        examples=["routes.toml"],
    )
    """The routes in the file."""
    github_repository: Repository | None = Field(
        default=None,
        description="Repository whose workflow builds the images, as owner/name. All new versions and aliases are "
        "dispatched to it.",
        examples=["owner/models"],
    )

    @model_validator(mode="wrap")
    @classmethod
    def _report_all_problems(cls, data: Mapping[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Report contradictions between settings together with invalid ones; an invalid setting counts as set."""
        problems = list(cls._contradictions({name for name, value in data.items() if value is not None}, data))
        try:
            settings = handler(data)
        except ValidationError as invalid:
            for error in invalid.errors(include_input=False, include_url=False):
                cause = error.get("ctx", {}).get("error")
                if isinstance(cause, _RoutesProblems):
                    problems += cause.problems
                    continue
                name = str(error["loc"][0])
                if name == "github_app_private_key" and data.get(name) is None:
                    name += "_file"  # the key is from there
                message = error["msg"].removeprefix("Value error, ")
                if error["type"] == "string_pattern_mismatch":
                    message = "it has the wrong format"
                problems.append(Problem(f"{name.upper()} is invalid ({message})", _hint(name)))
        if problems:
            raise SettingsInvalid(tuple(problems)) from None
        return settings

    @classmethod
    def _contradictions(cls, names: set[str], data: Mapping[str, Any]) -> Iterator[Problem]:  # noqa: ARG003  for others
        """Yield missing settings, and settings that exclude each other."""
        if not names & {"github_repository", "routes_file"}:
            yield Problem("GITHUB_REPOSITORY is not set", f"{_hint('github_repository')}, or set ROUTES_FILE")
        if {"github_repository", "routes_file"} <= names:
            yield Problem("GITHUB_REPOSITORY and ROUTES_FILE are both set", "remove one of them")

    @field_validator("routes_file", mode="before")
    @classmethod
    def _read_routes(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        path = Path(value)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ValueError(f"it can't be read: {type(error).__name__}") from error
        try:
            return routes_file.read(text, name=path.name, event_type=info.data.get("github_event_type", ""))
        except RoutesInvalid as error:
            raise _RoutesProblems(error.problems) from error

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes of the file, or the one of `GITHUB_REPOSITORY`."""
        if self.routes_file is not None:
            return self.routes_file
        return (Route("environment", self.github_repository or "", self.github_event_type),)

    @property
    def repositories(self) -> tuple[str, ...]:
        """The repositories of all routes, sorted."""
        return tuple(sorted({route.repository for route in self.routes}))


class Settings(RouteSettings):
    """All settings of the serving process."""

    mlflow_tracking_uri: str | None = Field(
        default=None,
        repr=False,
        exclude=True,  # it may hold a password
        description="Address of MLflow's tracking server. If set, the bridge recovers missed events and shows images.",
        examples=["https://mlflow.example.com"],
    )
    mlflow_tracking_username: str | None = Field(
        default=None, description="User name with which the bridge signs in to MLflow. Requires a password."
    )
    mlflow_tracking_password: SecretStr | None = Field(
        default=None, description="Password with which the bridge signs in to MLflow. Requires a user name."
    )
    mlflow_tracking_token: SecretStr | None = Field(
        default=None, description="Bearer token for MLflow. A user name and password take precedence."
    )
    mlflow_tracking_server_cert_path: Path | None = Field(
        default=None,
        description="Path of a file or folder with the CA certificates for MLflow's server, in PEM format. They "
        "replace the default CA certificates.",
        examples=["/etc/ssl/mlflow-ca.pem"],
    )
    allow_plain_http: bool = Field(
        default=False,
        description="Whether credentials may be sent over http in a private network. If true, the bridge and "
        "`doctor` don't warn about this.",
    )
    reconcile_interval: float = Field(
        default=300.0,
        ge=0,
        allow_inf_nan=False,
        description="Interval in seconds at which the bridge asks MLflow for missed events. 0 disables this.",
        examples=["300"],
    )

    mlflow_webhook_secret: SecretStr | None = Field(
        default=None,
        description="Secret of MLflow's webhook. Deliveries that are not signed with it are refused. It may be unset "
        "only if the bridge asks MLflow for missed events.",
    )
    mlflow_webhook_secret_previous: SecretStr | None = Field(
        default=None, description="Previous secret of MLflow's webhook. During a rotation, it is accepted, too."
    )
    max_timestamp_age: float = Field(
        default=300.0,
        gt=0,
        allow_inf_nan=False,
        description="Maximum age of a delivery in seconds. Older deliveries are refused.",
        examples=["300"],
    )
    host: str = Field(default="0.0.0.0", description="Address on which the bridge listens.", examples=["127.0.0.1"])  # noqa: S104  a server in a container listens on all of its addresses
    port: int = Field(default=8000, ge=0, le=65535, description="Port on which the bridge listens.", examples=["8000"])

    github_token: SecretStr | None = Field(
        default=None,
        description="Token for GitHub with the permissions contents=write and actions=read on the repository. A GitHub "
        "App is the alternative: see `GITHUB_APP_ID`.",
    )
    github_app_id: _AppId | None = Field(
        default=None, description="Client ID or App ID of the GitHub App. Requires a private key."
    )
    github_app_private_key_file: Path | None = Field(
        default=None,
        repr=False,
        description="Path of the file with the App's private key, in PEM format.",
        examples=["/run/secrets/app.pem"],
    )
    github_app_private_key: SecretStr | None = Field(
        default=None,
        description="Private key of the GitHub App, in PEM format. `GITHUB_APP_PRIVATE_KEY_FILE` is the alternative.",
    )
    """Also set if the key is in the file."""
    github_api_url: _Url = Field(
        default="https://api.github.com",
        description="Address of GitHub's REST API.",
        examples=["https://ghes.example.com/api/v3"],
    )
    github_api_version: _Version = Field(
        default="2022-11-28", description="Version of GitHub's REST API.", examples=["2022-11-28"]
    )
    github_dispatch_interval: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="Minimum time in seconds between two dispatches.",
        examples=["1"],
    )
    github_poll_interval: float = Field(
        default=15.0,
        gt=0,
        allow_inf_nan=False,
        description="Interval in seconds at which the bridge checks the state of runs.",
        examples=["15"],
    )
    dispatch_settle: float = Field(
        default=120.0,
        ge=0,
        allow_inf_nan=False,
        description="Time in seconds that GitHub may take to show a new run. A dispatch without a response is retried "
        "only if no run appears in that time.",
        examples=["120"],
    )
    database_url: str = Field(
        default=f"{_SQLITE}mlflow-bridge.db",
        repr=False,
        exclude=True,  # it may hold a password
        description="Address of the ledger, a SQLite file or a PostgreSQL database.",
        examples=["sqlite:////data/mlflow-bridge.db", "postgresql://user:password@host/name"],
    )
    admin_password: SecretStr | None = Field(
        default=None,
        description="Password of the user admin for the status page and its API. Without it, both are disabled.",
    )
    log_format: Literal["json", "console"] = Field(default="json", description="Format of the log, json or console.")

    @classmethod
    def _contradictions(cls, names: set[str], data: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super()._contradictions(names, data)

        if len(names & {"mlflow_tracking_username", "mlflow_tracking_password"}) == 1:
            yield Problem(
                "only one of MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD is set", "set both or neither"
            )
        if "mlflow_webhook_secret" not in names:
            reconciles = "mlflow_tracking_uri" in names and not _is_zero(data.get("reconcile_interval"))
            if not reconciles or "mlflow_webhook_secret_previous" in names:
                yield Problem("MLFLOW_WEBHOOK_SECRET is not set", _hint("mlflow_webhook_secret"))

        key = names & {"github_app_private_key", "github_app_private_key_file"}
        if len(key) == 2:
            yield Problem("GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_FILE are both set", "remove one of them")
        if "github_token" in names:
            if key or "github_app_id" in names:
                yield Problem("both GITHUB_TOKEN and a GitHub App are set", "remove one of them")
        elif not key and "github_app_id" not in names:
            yield Problem("GITHUB_TOKEN is not set", f"{_hint('github_token')}, or set GITHUB_APP_ID")
        elif not key:
            yield Problem("GITHUB_APP_PRIVATE_KEY is not set", _hint("github_app_private_key"))
        elif "github_app_id" not in names:
            yield Problem("GITHUB_APP_ID is not set", _hint("github_app_id"))

    @field_validator(
        "mlflow_tracking_password",
        "mlflow_tracking_token",
        "mlflow_webhook_secret",
        "mlflow_webhook_secret_previous",
        "admin_password",
    )
    @classmethod
    def _is_not_a_sample(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and secret.get_secret_value().strip() in _SAMPLES:
            raise ValueError(_IS_SAMPLE)
        return secret

    @field_validator("mlflow_tracking_uri", "database_url")
    @classmethod
    def _holds_no_sample(cls, url: str | None) -> str | None:
        if url is None or is_loopback(url):
            return url
        try:
            password = unquote(urlsplit(url).password or "")
        except ValueError:
            return url
        if password in _SAMPLES:
            raise ValueError(_IS_SAMPLE)
        return url

    @field_validator("mlflow_tracking_uri")
    @classmethod
    def _is_a_tracking_server(cls, uri: str | None) -> str | None:
        if uri is not None:
            scheme, host, _ = addresses.split_url(uri)
            if scheme not in ("http", "https") or not host:
                raise ValueError("it is not an http or https address")
        return uri

    @field_validator("mlflow_tracking_server_cert_path")
    @classmethod
    def _holds_certificates(cls, path: Path | None) -> Path | None:
        if path is not None and not path.exists():
            raise ValueError("the file or folder does not exist")
        if path is not None and path.is_file():
            try:
                ssl.create_default_context(cafile=path)
            except OSError as error:
                raise ValueError("it can't be read as CA certificates") from error
        return path

    @field_validator("github_app_private_key")
    @classmethod
    def _read_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        file = info.data.get("github_app_private_key_file")
        if key is None and file is not None:
            try:
                key = SecretStr(file.read_text(encoding="ascii"))
            except (OSError, ValueError) as error:
                raise ValueError(f"it can't be read: {type(error).__name__}") from error
        return None if key is None else _rsa_key(key)

    @field_validator("github_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value().strip() if token else ""
        if not (text.isascii() and (text or " ").isprintable()) or " " in text:
            raise ValueError("it contains characters that are not allowed in a token")
        return SecretStr(text) if token else None

    @field_validator("database_url")
    @classmethod
    def _is_a_file_or_a_server(cls, url: str) -> str:
        if url.startswith(_SQLITE):
            if url.removeprefix(_SQLITE) in ("", ":memory:") or "?" in url:
                raise ValueError("SQLite needs a file, without options")
            return url
        scheme, host, path = addresses.split_url(url)
        if scheme not in _POSTGRESQL or not host or not path.strip("/"):
            raise ValueError("only SQLite and PostgreSQL are supported")
        return url

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets of valid signatures, the current one first; empty if the bridge accepts no deliveries."""
        both = (self.mlflow_webhook_secret, self.mlflow_webhook_secret_previous)
        return tuple(secret.get_secret_value() for secret in both if secret)

    @property
    def reconciles(self) -> bool:
        """Whether MLflow is searched for missed events."""
        return self.mlflow_tracking_uri is not None and self.reconcile_interval > 0


def load() -> Settings:
    """Read the settings; raises `SettingsInvalid`."""
    return _load(Settings)


def load_routes(file: Path | None = None) -> tuple[Route, ...]:
    """Read only the routes, from `file` if it is given; raises `SettingsInvalid`."""
    if file is None:
        return _load(RouteSettings).routes
    return _load(RouteSettings, routes_file=str(file), github_repository=None).routes


def _load(kind: type[_Kind], **values: Any) -> _Kind:
    try:
        return kind(**values)
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(f".env can't be read ({type(error).__name__})", "make it a readable UTF-8 text file")
        raise SettingsInvalid((problem,)) from None


def _hint(name: str) -> str:
    field = Settings.model_fields[name]
    if field.annotation is bool:
        return "set it to true or false"
    noun = str(field.description).partition(". ")[0].rstrip(".")
    example = f", for example {field.examples[0]}" if field.examples else ""
    return f"set it to the {noun[0].lower()}{noun[1:]}{example}"


def _is_zero(value: object) -> bool:
    try:
        return float(str(value)) == 0
    except ValueError:
        return False


def _rsa_key(key: SecretStr) -> SecretStr:
    """Return the key with real line feeds, which many secret stores write as two characters.

    cryptography is imported only here, because it costs megabytes of memory that a token doesn't need.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = key.get_secret_value().replace("\\n", "\n").strip() + "\n"
    try:
        is_rsa = isinstance(load_pem_private_key(text.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError):  # not PEM, or with a password; UnsupportedAlgorithm isn't RSA either
        is_rsa = False
    if not is_rsa:
        raise ValueError("it is not an RSA key in PEM format without a password")
    return SecretStr(text)


SECRET_LENGTH: Final = 16
"""Characters of the webhook's secret. Whoever has one delivery can guess it offline, as fast as machines allow."""

PASSWORD_LENGTH: Final = 12
"""Characters, as MLflow requires for its own administrator. Each guess needs a request, which the bridge delays."""

DISTINCT: Final = 6
"""Different characters. A text with fewer, such as a repeated word of four letters, is quickly guessed."""


@dataclass(frozen=True)
class Weakness:
    """What is weak about a setting, and how to fix it; neither text holds a value."""

    setting: str
    message: str
    hint: str


def find_weaknesses(settings: Settings) -> Iterator[Weakness]:
    """Yield every weakness; reads only the modes of files."""
    for setting, secret, length in (
        ("MLFLOW_WEBHOOK_SECRET", settings.mlflow_webhook_secret, SECRET_LENGTH),
        ("MLFLOW_WEBHOOK_SECRET_PREVIOUS", settings.mlflow_webhook_secret_previous, SECRET_LENGTH),
        ("ADMIN_PASSWORD", settings.admin_password, PASSWORD_LENGTH),
    ):
        text = secret.get_secret_value() if secret else None
        if text is not None and (len(text) < length or len(set(text)) < DISTINCT):
            message = (
                f"it is easy to guess: it has fewer than {length} characters, or fewer than {DISTINCT} different ones"
            )
            yield Weakness(setting, message, "set it to a long random text, for example from `openssl rand -hex 24`")
    if not settings.allow_plain_http:
        servers = [("GITHUB_API_URL", settings.github_api_url)]  # to which a token or a password is sent
        mlflow = settings.mlflow_tracking_uri
        credentials = (settings.mlflow_tracking_password, settings.mlflow_tracking_token)
        if mlflow and (any(credentials) or urlsplit(mlflow).password):
            servers.append(("MLFLOW_TRACKING_URI", mlflow))
        for setting, url in servers:
            if url.lower().startswith("http://") and not is_loopback(url):
                message = "it is an http address, so anyone on the network path can read the credentials"
                hint = "use an https address; if the network is private, you can set ALLOW_PLAIN_HTTP=true instead"
                yield Weakness(setting, message, hint)
    for setting, file in (
        ("GITHUB_APP_PRIVATE_KEY_FILE", settings.github_app_private_key_file),
        (".env", Path(".env")),
    ):
        if file and _others_may_read(file):
            yield Weakness(setting, "every user of this machine can read or change the file", f"run `chmod o= {file}`")


def _others_may_read(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False
