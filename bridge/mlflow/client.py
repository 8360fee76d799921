"""MLflow's REST API, as far as it is used here: versions, aliases, tags, webhooks, and the files of its artifact proxy.

Source: MLflow's "REST API" (2.0) and its protobuf files. Names are sent only in query parameters and JSON bodies, so
they may hold any Unicode. Every method raises only `MlflowError` and its subclasses; `download_artifact` also OSError.
"""

import base64
import json
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    InstanceOf,
    ValidationError,
    field_validator,
)

from bridge import __version__
from bridge.core import http_answers
from bridge.core.errors import BridgeError
from bridge.core.http_answers import AnswerTooLarge, AnswerUnreadable
from bridge.core.limits import (
    MAX_ERROR_BODY,
    MAX_ERROR_MESSAGE,
    MAX_MLFLOW_OVERSIZED,
    MAX_MLFLOW_PAGES,
    MAX_TEXT,
    MLFLOW_PAGE,
    MLFLOW_WEBHOOKS_PAGE,
)
from bridge.core.text import Text, clean, read_json

_LOGGED_MODEL: Final = re.compile(r"models:/(m-[0-9A-Za-z]+)")
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=10.0)
"""Seconds without a byte."""

_CALL_SECONDS: Final = 60.0
"""Limit of a whole call: MLflow's database may need some time for a long list."""

_TEST_SECONDS: Final = 90.0
"""The same for the test of a webhook, in which MLflow itself waits for the receiver and retries."""

_TIMES: Final = range(253_370_764_800_000)
"""Milliseconds of the years 1970 to 9998."""

Name = InstanceOf[str]
"""The name of a model, version or alias, with any content. It is never changed; code that stores it checks it."""

_Optional = Annotated[Text | None, BeforeValidator(lambda value: value or None)]
"""MLflow sends an empty string for a missing value."""


class MlflowError(BridgeError):
    """A request to MLflow failed; `mlflow_message` is the message of MLflow's own error, if it sent one."""

    def __init__(self, message: str, hint: str = "", mlflow_message: str = "") -> None:
        super().__init__(message, hint)
        self.mlflow_message = mlflow_message


class MlflowUnreachable(MlflowError):
    """MLflow did not answer."""


class MlflowBusy(MlflowError):
    """MLflow answered 429 or 5xx: the same request may succeed later."""


class MlflowRefused(MlflowError):
    """MLflow denied access: 401 or 403."""


class MlflowNotFound(MlflowError):
    """MLflow has no such model, version or alias."""


class MlflowAnswerTooLarge(MlflowError):
    """MLflow's answer is larger than the limit."""


class MlflowAnswerUnreadable(MlflowError):
    """The answer doesn't have the format of MLflow's REST API."""


class _ApiModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ModelVersion(_ApiModel):
    """A model version; `version` is text, as everywhere in MLflow's API."""

    name: Name
    version: Name
    source: _Optional = None
    run_id: _Optional = None
    status: Text = "READY"
    tags: dict[Text, Text] = Field(default_factory=dict)
    aliases: tuple[Name, ...] = ()

    @field_validator("tags", mode="before")
    @classmethod
    def _pairs(cls, tags: object) -> object:
        return _by_key(tags, "key", "value")


class RecentVersion(_ApiModel):
    """A model version in MLflow's list; `created` is in milliseconds by MLflow's clock."""

    name: Name
    version: Name
    created: Annotated[int, Field(ge=_TIMES.start, lt=_TIMES.stop)] = Field(validation_alias="creation_timestamp")
    source: _Optional = None
    run_id: _Optional = None


class RegisteredModel(_ApiModel):
    """A model with the version of each of its aliases."""

    name: Name
    aliases: dict[Name, Name] = Field(default_factory=dict)

    @field_validator("aliases", mode="before")
    @classmethod
    def _pairs(cls, aliases: object) -> object:
        return _by_key(aliases, "alias", "version")


@dataclass(frozen=True)
class Skipped:
    """An entry of one of MLflow's lists that can't be read; the entries after it are still returned."""

    entry: str
    fault: str


class WebhookTest(_ApiModel):
    """The result of a test event: `status` and `body` of the receiver's answer, or `error` if there was none."""

    success: bool = False
    status: int | None = Field(default=None, validation_alias="response_status")
    body: Text | None = Field(default=None, validation_alias="response_body")
    error: Text | None = Field(default=None, validation_alias="error_message")


class Webhook(_ApiModel):
    """A webhook, without its secret, which MLflow never shows; `events` are like `model_version.created`."""

    id: str = Field(validation_alias="webhook_id")
    name: Text
    url: Text
    events: tuple[str, ...] = ()
    status: str = "ACTIVE"

    @field_validator("events", mode="before")
    @classmethod
    def _names(cls, events: object) -> object:
        if isinstance(events, list) and all(isinstance(event, dict) for event in events):
            return [f"{event.get('entity', '')}.{event.get('action', '')}".lower() for event in events]
        return events

    @property
    def active(self) -> bool:
        """Whether MLflow delivers to it; an inactive webhook can still be tested."""
        return self.status == "ACTIVE"


class ListedArtifact(_ApiModel):
    """A file or folder in MLflow's list; `size` in bytes. MLflow omits the size of an empty file."""

    name: str = Field(validation_alias="path")
    is_dir: bool = False
    size: int = Field(default=0, ge=0, validation_alias="file_size")


class _Version(BaseModel):
    model_version: ModelVersion


class _Model(BaseModel):
    registered_model: RegisteredModel


class _Page(BaseModel):
    entries: tuple[Any, ...] = Field(
        (), validation_alias=AliasChoices("model_versions", "registered_models", "webhooks")
    )
    next_page_token: str | None = None


class _Uri(BaseModel):
    uri: str = Field(validation_alias=AliasChoices("artifact_uri", AliasPath("model", "info", "artifact_uri")))


class _Artifacts(BaseModel):
    files: Annotated[tuple[ListedArtifact, ...], FailFast()] = ()


class _WebhookId(BaseModel):
    webhook_id: str = Field(validation_alias=AliasPath("webhook", "webhook_id"))


class _TestResult(BaseModel):
    result: WebhookTest


class _Nothing(BaseModel):
    pass


_Answer = TypeVar("_Answer", bound=BaseModel)
_Entry = TypeVar("_Entry", RecentVersion, RegisteredModel, Webhook)


class MlflowApi:
    """A client of one MLflow server. Use it as a context manager, or `close` it.

    As in MLflow's own client, user and password take precedence over a token. `cert_path` is a file or folder of CA
    certificates. `server` is the address without credentials and path; `date` is the Date header of the last answer.
    """

    def __init__(
        self,
        uri: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        cert_path: str | None = None,
    ) -> None:
        url = _url(uri)
        self.date: str | None = None
        self.server = str(httpx2.URL(scheme=url.scheme, host=url.host, port=url.port))
        auth = (username, password) if username and password else (url.username, url.password)
        headers = {"User-Agent": f"mlflow-actions-bridge/{__version__}"}
        if token and not all(auth):
            headers["Authorization"] = f"Bearer {token}"
        root = f"{str(url.copy_with(userinfo=b'')).rstrip('/')}/api/2.0"
        self._artifacts = f"{root}/mlflow-artifacts/artifacts"
        self._client = httpx2.Client(
            base_url=f"{root}/mlflow/",
            auth=auth if all(auth) else None,
            headers=headers,
            cookies=http_answers.no_cookies(),
            timeout=_TIMEOUT,
            limits=httpx2.Limits(max_keepalive_connections=0),  # `ask_blocking` must see each call open its connection
            verify=_trusted_certificates(cert_path),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def version(self, name: str, version: str) -> ModelVersion:
        """Return the model version; raises `MlflowNotFound`."""
        query = {"name": name, "version": version}
        return self._ask("GET", "model-versions/get", _Version, _subject(name, version), query=query).model_version

    def version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that `alias` points to; raises `MlflowNotFound`."""
        query = {"name": name, "alias": alias}
        subject = f"alias {alias!r} of model {name!r}"
        return self._ask("GET", "registered-models/alias", _Version, subject, query=query).model_version

    def aliases(self, name: str) -> dict[str, str]:
        """Return the model's aliases with their versions."""
        answer = self._ask("GET", "registered-models/get", _Model, f"model {name!r}", query={"name": name})
        return answer.registered_model.aliases

    def recent_versions(self, since: int) -> Iterator[RecentVersion | Skipped]:
        """Yield the versions created at `since` (milliseconds by MLflow's clock) or later, newest first.

        A version may occur twice if another one is created meanwhile, and be missing if one is deleted meanwhile.
        MLflow can order by time but not filter by it. It omits prompts.
        """
        path, order = "model-versions/search", {"order_by": "creation_timestamp DESC"}
        for version in self._entries(path, RecentVersion, "the list of model versions", MLFLOW_PAGE, order):
            if isinstance(version, RecentVersion) and version.created < since:
                return
            yield version

    def registered_models(self) -> Iterator[RegisteredModel | Skipped]:
        """Yield all models with their aliases, by name; one may be missing if another is deleted meanwhile."""
        return self._entries("registered-models/search", RegisteredModel, "the list of registered models", MLFLOW_PAGE)

    def artifact_uri(self, name: str, version: str) -> str:
        """Return the location of the version's files; a `models:/m-…` is resolved to that of the logged model."""
        query = {"name": name, "version": version}
        path = "model-versions/get-download-uri"
        uri = self._ask("GET", path, _Uri, _subject(name, version), query=query).uri
        logged = _LOGGED_MODEL.fullmatch(uri)
        if not logged:
            return uri
        model_id = logged.group(1)
        return self._ask("GET", f"logged-models/{model_id}", _Uri, f"logged model {model_id!r}").uri

    def list_artifacts(self, path: str) -> tuple[ListedArtifact, ...]:
        """List the content of the folder `path` of the server's artifact proxy; the names are not checked.

        Source: "MLflow Tracking Server", "Using the Tracking Server for proxied artifact access".
        """
        subject = f"the list of the folder {path!r} of its artifacts"
        return self._ask("GET", self._artifacts, _Artifacts, subject, query={"path": path}).files

    def download_artifact(self, path: str, to: Path, size: int) -> None:
        """Write the file `path` of the artifact proxy to `to`.

        Raises `MlflowError` unless it has exactly `size` bytes, at the first byte too many; OSError if `to` can't be
        written.
        """
        subject = f"the file {path!r} of its artifacts"
        url = f"{self._artifacts}/{quote(path)}"
        received = 0
        try:
            request = self._client.build_request("GET", url, headers={"Accept-Encoding": "identity"})
            with closing(self._client.send(request, stream=True)) as answer:
                if not answer.is_success:
                    beginning = next(answer.iter_raw(MAX_ERROR_BODY), b"")
                    raise self._error(httpx2.Response(answer.status_code, content=beginning), subject)
                # A compressed answer could expand without limit.
                if answer.headers.get("content-encoding", "identity").lower() != "identity":
                    raise MlflowError(
                        f"MLflow at {self.server} sent {subject} compressed, although this was not requested",
                        "disable compression in the proxy in front of MLflow",
                    )
                with to.open("wb") as file:
                    for chunk in answer.iter_raw():
                        received += len(chunk)
                        if received > size:
                            break
                        file.write(chunk)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise MlflowUnreachable(
                f"MLflow at {self.server} did not send {subject} ({type(error).__name__})",
                "check that this machine can reach MLflow, then re-run the job",
            ) from error
        if received != size:
            raise MlflowError(
                f"MLflow at {self.server} lists {subject} with {size:,} bytes but sent "
                f"{'more' if received > size else f'{received:,}'}",
                "re-run the job, or log the model again",
            )

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of the version, or replace its value."""
        body = {"name": name, "version": version, "key": key, "value": value}
        self._ask("POST", "model-versions/set-tag", _Nothing, _subject(name, version), body=body)

    def webhooks(self) -> Iterator[Webhook]:
        """Yield all webhooks, newest first."""
        for webhook in self._entries("webhooks", Webhook, "the list of webhooks", MLFLOW_WEBHOOKS_PAGE):
            if isinstance(webhook, Skipped):
                raise MlflowAnswerUnreadable(
                    f"MLflow at {self.server} has a webhook that can't be read ({webhook.fault})", "delete it in MLflow"
                )
            yield webhook

    def create_webhook(self, name: str, url: str, events: Iterable[str], secret: str, *, active: bool = True) -> str:
        """Create a webhook for events such as `model_version.created`, and return its id.

        An inactive webhook gets no deliveries, but can be tested.
        """
        body = {"name": name, "url": url, "events": [_event(event) for event in events], "secret": secret}
        body |= {} if active else {"status": "DISABLED"}
        return self._ask("POST", "webhooks", _WebhookId, f"webhook {name!r}", body=body).webhook_id

    def update_webhook(
        self, webhook_id: str, *, secret: str | None = None, events: Iterable[str] = (), active: bool = False
    ) -> None:
        """Change its secret or events, or enable it.

        MLflow's test events use the change at once, its deliveries within a minute (`MLFLOW_WEBHOOK_CACHE_TTL`).
        """
        body: dict[str, Any] = {"events": [_event(event) for event in events]} if events else {}
        body |= ({"secret": secret} if secret else {}) | ({"status": "ACTIVE"} if active else {})
        self._ask("PATCH", f"webhooks/{webhook_id}", _WebhookId, f"webhook {webhook_id!r}", body=body)

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete it; raises `MlflowNotFound`."""
        self._ask("DELETE", f"webhooks/{webhook_id}", _Nothing, f"webhook {webhook_id!r}")

    def test_webhook(self, webhook_id: str, event: str) -> WebhookTest:
        """Let MLflow send its test event of that kind, and return the receiver's answer."""
        path, body = f"webhooks/{webhook_id}/test", {"event": _event(event)}
        subject = f"webhook {webhook_id!r}"
        return self._ask("POST", path, _TestResult, subject, body=body, seconds=_TEST_SECONDS).result

    def _entries(
        self, path: str, entry_type: type[_Entry], subject: str, page_size: int, query: Mapping[str, str] | None = None
    ) -> Iterator[_Entry | Skipped]:
        """Yield the entries of all pages of a list.

        A page that is too large is requested again in smaller pages; a single entry that is too large is skipped.
        """
        size, token, passed, oversized = page_size, "", 0, 0
        for _ in range(MAX_MLFLOW_PAGES):
            page = dict(query or {}, max_results=str(size)) | ({"page_token": token} if token else {})
            try:
                answer = self._ask("GET", path, _Page, subject, query=page)
            except MlflowAnswerTooLarge as error:
                oversized += 1
                if oversized > MAX_MLFLOW_OVERSIZED:
                    raise
                if size > 1:
                    size = max(size // 10, 1)
                    continue
                yield Skipped(f"entry {passed + 1} of {subject}", str(error))
                passed += 1
                # The page after it, in the form that MLflow's `SearchUtils` gives its tokens.
                token = base64.b64encode(json.dumps({"offset": passed}).encode()).decode()
                continue
            size = min(size * 10, page_size)
            for entry in answer.entries:
                yield _entry(entry_type, entry)
            passed += len(answer.entries)
            if not answer.next_page_token:
                return
            if answer.next_page_token == token:
                break
            token = answer.next_page_token
        raise MlflowError(
            f"MLflow at {self.server} returned an endless number of pages for {subject}", "check MLFLOW_TRACKING_URI"
        )

    def _ask(
        self,
        method: str,
        path: str,
        answer_type: type[_Answer],
        subject: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> _Answer:
        """Send a request and parse its answer; `subject` names its object in messages."""
        try:
            for value in (*(query or {}).values(), *(body or {}).values()):
                str(value).encode()
        except UnicodeEncodeError as error:
            raise MlflowNotFound(
                f"MLflow can't contain {subject}", "check the name, which is not valid Unicode"
            ) from error
        request = self._client.build_request(method, path, params=query, json=body, timeout=seconds or _TIMEOUT)
        try:
            answer = http_answers.ask_blocking(self._client, request, seconds=seconds or _CALL_SECONDS)
        except AnswerTooLarge as error:
            raise MlflowAnswerTooLarge(
                f"MLflow at {self.server} sent a response for {subject} that is too large ({error})",
                "reduce its size in MLflow",
            ) from error
        except (AnswerUnreadable, httpx2.HTTPError) as error:
            cause = error if isinstance(error, AnswerUnreadable) else type(error).__name__
            raise MlflowUnreachable(
                f"MLflow at {self.server} can't be reached ({cause})",
                "check MLFLOW_TRACKING_URI, and that this machine can reach it (GitHub's hosted runners can't reach a "
                "private MLflow; use a self-hosted runner)",
            ) from error
        self.date = answer.headers.get("date")
        if not answer.is_success:
            raise self._error(answer, subject)
        try:
            return answer_type.model_validate(read_json(answer.content))
        except ValueError as error:
            raise MlflowAnswerUnreadable(
                f"MLflow at {self.server} sent a response for {subject} that is not from MLflow's REST API",
                "check that MLFLOW_TRACKING_URI is the address of MLflow, not of a sign-in page",
            ) from error

    def _error(self, answer: httpx2.Response, subject: str) -> MlflowError:
        """Return the error that MLflow's answer means."""
        status = answer.status_code
        try:
            body = read_json(answer.content)
        except ValueError:
            body = None
        code, message = _line(body, "error_code"), _line(body, "message")

        if status == 403 and b"Invalid Host header" in answer.content:
            return MlflowRefused(
                f"MLflow at {self.server} refused its own host name (403 Invalid Host header)",
                f"start MLflow with --allowed-hosts {self.server.partition('//')[2]}",
            )
        if status in (401, 403):
            return MlflowRefused(
                f"MLflow at {self.server} denied access to {subject} with these credentials ({status})",
                "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, and their "
                "permissions",
            )
        if code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and message.endswith("not found.")):
            return MlflowNotFound(
                f"MLflow at {self.server} has no {subject}", "check the name; it may have been deleted"
            )
        if code == "INTERNAL_ERROR" and not message and "webhook" in subject:  # the error of its cryptography is empty
            return MlflowError(
                f"MLflow at {self.server} can't read the secrets of its webhooks (500 INTERNAL_ERROR)",
                "start all of MLflow's processes with the MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY that the webhooks were "
                "created with, or delete the webhooks in MLflow's database",
            )
        kind = MlflowBusy if status == 429 or answer.is_server_error else MlflowError
        if not code:
            return kind(
                f"MLflow at {self.server} returned {status} for {subject} without an MLflow error code",
                "check MLFLOW_TRACKING_URI, any proxy in front of MLflow, and that MLflow is version 3.4 or newer",
            )
        return kind(
            f"MLflow at {self.server} rejected the request for {subject} ({status} {code}: {message})",
            "fix the reported problem",
            message,
        )


def _url(uri: str) -> httpx2.URL:
    """Parse the address. It may hold a password, so no message shows it."""
    try:
        url = httpx2.URL(uri)
    except httpx2.InvalidURL as error:
        raise MlflowError(
            "MLFLOW_TRACKING_URI is not a URL", "set it to an address such as https://mlflow.example.com"
        ) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise MlflowError(
            "MLFLOW_TRACKING_URI is not the URL of a tracking server",
            "set it to an address such as https://mlflow.example.com",
        )
    return url


def _trusted_certificates(cert_path: str | None) -> ssl.SSLContext | bool:
    if not cert_path:
        return True
    try:
        if Path(cert_path).is_dir():
            return ssl.create_default_context(capath=cert_path)
        return ssl.create_default_context(cafile=cert_path)
    except OSError as error:
        raise MlflowError(
            f"MLFLOW_TRACKING_SERVER_CERT_PATH {cert_path!r} can't be read as CA certificates", "set it to a PEM file"
        ) from error


def _subject(name: str, version: str) -> str:
    return f"version {version!r} of model {name!r}"


def _event(event: str) -> dict[str, str]:
    """Return `model_version.created` as the API's pair of enum names."""
    entity, _, action = event.partition(".")
    return {"entity": entity.upper(), "action": action.upper()}


def _by_key(pairs: object, key: str, value: str) -> object:
    """Turn MLflow's list of pairs into a dict; anything else is left for pydantic to refuse."""
    if isinstance(pairs, list) and all(isinstance(pair, dict) and isinstance(pair.get(key), str) for pair in pairs):
        return {pair[key]: pair.get(value, "") for pair in pairs}
    return pairs


def _line(body: object, name: str) -> str:
    """Return a text of a JSON object in one line, empty if there is none."""
    text = body.get(name) if isinstance(body, dict) else None
    return " ".join(clean(text).split())[:MAX_ERROR_MESSAGE] if isinstance(text, str) else ""


def _entry(entry_type: type[_Entry], content: object) -> _Entry | Skipped:
    """Read an entry. One whose name is too long is skipped: many names of a megabyte each would fill the memory."""
    try:
        entry = entry_type.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fault = clean(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    else:
        if len(entry.name) <= MAX_TEXT:
            return entry
        fault = f"name: it is longer than {MAX_TEXT} characters"
    names = [_line(content, name) for name in ("name", "version")] if isinstance(content, dict) else []
    return Skipped(f"the entry {' '.join(names)!r}", fault)
