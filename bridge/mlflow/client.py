"""MLflow's REST API, as far as we need it: versions, aliases, tags, webhooks, and the files of its artifact proxy.

Source: MLflow's "REST API" (2.0) and its protobuf files. Names travel in query parameters and JSON bodies alone, so
that any Unicode is fine. Every method raises a `MlflowError` or one of its kinds, and nothing else;
`download_artifact` also OSError.
"""

import base64
import json
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import (
    AliasChoices,
    BaseModel,
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
from bridge.core.limits import MAX_TEXT
from bridge.core.text import Text, clean, read_json

_LOGGED_MODEL = re.compile(r"models:/(m-[0-9A-Za-z]+)")
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
"""Seconds without a byte."""

_SECONDS = 60.0
"""Limit of a whole call: MLflow's database may need some time for a long list."""

_TEST_SECONDS = 90.0
"""The same for a webhook test, during which MLflow itself waits for the receiver, with retries."""

_MAX_ERROR = 65_536
"""Bytes read of an error's body."""

_PAGE = 200
"""How many versions or models are asked for at once; each model brings its newest versions along."""

_PAGES = 5_000
"""Most pages read of a list: with full pages, a million versions or models."""

_TOO_LARGE = 100
"""Most answers of one list that may be too large: MLflow itself couldn't list more entries of that size."""

_TIMES = range(253_370_764_800_000)
"""Milliseconds of the years 1970 to 9998."""

Name = InstanceOf[str]
"""The name of a model, version or alias, with any content. It is never altered; code that stores it checks it."""


class MlflowError(BridgeError):
    """MLflow did not do what was asked of it."""


class MlflowUnreachable(MlflowError):
    """No answer came from MLflow."""


class MlflowBusy(MlflowError):
    """MLflow answered 429 or 5xx: the same request may succeed later."""


class MlflowRefused(MlflowError):
    """MLflow doesn't let us in: 401 or 403."""


class MlflowNotFound(MlflowError):
    """MLflow has no such model, version or alias."""


class MlflowAnswerTooLarge(MlflowError):
    """MLflow's answer is larger than the limit."""


class MlflowAnswerUnreadable(MlflowError):
    """The answer isn't of MLflow's REST API."""


class ModelVersion(BaseModel):
    """A model version as MLflow tells of it; `version` is text, as everywhere in MLflow's API."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    version: Name
    source: Text | None = None
    run_id: Text | None = None
    status: Text = "READY"
    tags: dict[Text, Text] = Field(default_factory=dict)
    aliases: tuple[Name, ...] = ()

    @field_validator("tags", mode="before")
    @classmethod
    def _pairs(cls, tags: object) -> object:
        return _by_key(tags, "key", "value")

    @field_validator("source", "run_id", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None


class RecentVersion(BaseModel):
    """A model version as MLflow's list tells of it; `created` is in milliseconds by MLflow's clock."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    version: Name
    created: Annotated[int, Field(ge=_TIMES.start, lt=_TIMES.stop)] = Field(validation_alias="creation_timestamp")
    source: Text | None = None
    run_id: Text | None = None

    @field_validator("source", "run_id", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None


class RegisteredModel(BaseModel):
    """A model with the version of each of its aliases."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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


class WebhookTest(BaseModel):
    """What came of a test event: `status` and `body` of the receiver's answer, or `error` where there was none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    success: bool = False
    status: int | None = Field(default=None, validation_alias="response_status")
    body: Text | None = Field(default=None, validation_alias="response_body")
    error: Text | None = Field(default=None, validation_alias="error_message")


class Webhook(BaseModel):
    """A webhook as MLflow tells of it, which never tells its secret; `events` are as `model_version.created`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias="webhook_id")
    name: Text
    url: Text
    events: tuple[str, ...] = ()
    status: str = "ACTIVE"

    @field_validator("events", mode="before")
    @classmethod
    def _words(cls, events: object) -> object:
        if isinstance(events, list) and all(isinstance(event, dict) for event in events):
            return [f"{event.get('entity', '')}.{event.get('action', '')}".lower() for event in events]
        return events

    @property
    def active(self) -> bool:
        """Tell whether MLflow delivers to it; it can be tested all the same."""
        return self.status == "ACTIVE"


class _VersionAnswer(BaseModel):
    model_version: ModelVersion


class _ModelAnswer(BaseModel):
    registered_model: RegisteredModel


class _Page(BaseModel):
    entries: tuple[Any, ...] = Field(
        (), validation_alias=AliasChoices("model_versions", "registered_models", "webhooks")
    )
    next_page_token: str | None = None


class _UriAnswer(BaseModel):
    artifact_uri: str


class _LoggedModelInfo(BaseModel):
    artifact_uri: str


class _LoggedModel(BaseModel):
    info: _LoggedModelInfo


class _LoggedModelAnswer(BaseModel):
    model: _LoggedModel


class ListedArtifact(BaseModel):
    """A file or folder as MLflow lists it; `size` in bytes. MLflow omits the size of an empty file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(validation_alias="path")
    is_dir: bool = False
    size: int = Field(default=0, ge=0, validation_alias="file_size")


class _ArtifactsAnswer(BaseModel):
    files: Annotated[tuple[ListedArtifact, ...], FailFast()] = ()


class _WrittenWebhook(BaseModel):
    webhook_id: str


class _WebhookAnswer(BaseModel):
    webhook: _WrittenWebhook


class _TestAnswer(BaseModel):
    result: WebhookTest


class _Nothing(BaseModel):
    pass


_Answer = TypeVar("_Answer", bound=BaseModel)
_Entry = TypeVar("_Entry", RecentVersion, RegisteredModel, Webhook)


class MlflowApi:
    """A client of one MLflow server. Use it as a context manager, or `close` it.

    As in MLflow's own client, user and password win over a token. `cert_path` is a file or folder of CA certificates.
    `server` is its address without what may be secret; `date` the header Date of the last answer, if it had one.
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
        self.server = str(httpx.URL(scheme=url.scheme, host=url.host, port=url.port))
        self._host = self.server.partition("//")[2]
        auth = (username, password) if username and password else (url.username, url.password)
        headers = {"User-Agent": f"mlflow-actions-bridge/{__version__}"}
        if token and not all(auth):
            headers["Authorization"] = f"Bearer {token}"
        root = f"{str(url.copy_with(userinfo=b'')).rstrip('/')}/api/2.0"
        self._artifacts = f"{root}/mlflow-artifacts/artifacts"
        self._client = httpx.Client(
            base_url=f"{root}/mlflow/",
            auth=auth if all(auth) else None,
            headers=headers,
            cookies=http_answers.no_cookies(),
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),  # `reading` must see each call open its connection
            verify=_trust(cert_path),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def version(self, name: str, version: str) -> ModelVersion:
        """Give the model version; `MlflowNotFound` where there is none."""
        query = {"name": name, "version": version}
        what = f"version {version!r} of model {name!r}"
        return self._get("model-versions/get", _VersionAnswer, what, query).model_version

    def version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Give the version that `alias` points to; `MlflowNotFound` where there is none."""
        query = {"name": name, "alias": alias}
        what = f"alias {alias!r} of model {name!r}"
        return self._get("registered-models/alias", _VersionAnswer, what, query).model_version

    def aliases(self, name: str) -> dict[str, str]:
        """Give the version of each alias of the model."""
        answer = self._get("registered-models/get", _ModelAnswer, f"model {name!r}", {"name": name})
        return answer.registered_model.aliases

    def recent_versions(self, since: int) -> Iterator[RecentVersion | Skipped]:
        """Give the versions made at `since` (milliseconds by MLflow's clock) or later, newest first.

        A version may be given twice where another one is made meanwhile, and left out where one is deleted meanwhile.
        MLflow can only order by time, not filter by it; it leaves prompts out.
        """
        path, order = "model-versions/search", {"order_by": "creation_timestamp DESC"}
        for version in self._entries(path, RecentVersion, "the list of model versions", _PAGE, order):
            if isinstance(version, RecentVersion) and version.created < since:
                return
            yield version

    def registered_models(self) -> Iterator[RegisteredModel | Skipped]:
        """Give all models with their aliases, by name; one may be left out where another is deleted meanwhile."""
        return self._entries("registered-models/search", RegisteredModel, "the list of registered models", _PAGE)

    def artifact_uri(self, name: str, version: str) -> str:
        """Give where the version's files lie; a `models:/m-…` is followed to the logged model's own address."""
        query = {"name": name, "version": version}
        what = f"version {version!r} of model {name!r}"
        uri = self._get("model-versions/get-download-uri", _UriAnswer, what, query).artifact_uri
        logged = _LOGGED_MODEL.fullmatch(uri)
        if not logged:
            return uri
        model_id = logged.group(1)
        answer = self._get(f"logged-models/{model_id}", _LoggedModelAnswer, f"logged model {model_id!r}")
        return answer.model.info.artifact_uri

    def list_artifacts(self, path: str) -> tuple[ListedArtifact, ...]:
        """List what is directly in the folder `path` of the server's artifact proxy; the names are not checked.

        Source: "MLflow Tracking Server", "Using the Tracking Server for proxied artifact access".
        """
        what = f"the list of the folder {path!r} of its artifacts"
        return self._get(self._artifacts, _ArtifactsAnswer, what, {"path": path}).files

    def download_artifact(self, path: str, to: Path, size: int) -> None:
        """Write the file `path` of the artifact proxy to `to`, which must get exactly `size` bytes.

        Raises `MlflowError` as soon as more than `size` bytes arrive, and OSError if `to` can't be written.
        """
        what = f"the file {path!r} of its artifacts"
        received = 0
        with self._artifact(quote(path), what) as chunks, to.open("wb") as file:
            for chunk in chunks:
                received += len(chunk)
                if received > size:
                    break
                file.write(chunk)
        if received != size:
            raise MlflowError(
                f"MLflow at {self.server} lists {what} with {size:,} bytes but sent "
                f"{'more' if received > size else f'{received:,}'}: run the job again, or log the model again"
            )

    @contextmanager
    def _artifact(self, path: str, what: str) -> Iterator[Iterator[bytes]]:
        """Yield the bytes of a file as they arrive. A compressed answer is an error: it could expand without limit."""
        request = self._client.build_request(
            "GET", f"{self._artifacts}/{path}", headers={"Accept-Encoding": "identity"}
        )
        try:
            answer = self._client.send(request, stream=True)
            with closing(answer):
                if not answer.is_success:
                    beginning = next(answer.iter_raw(_MAX_ERROR), b"")
                    raise self._refusal(httpx.Response(answer.status_code, content=beginning), what)
                if answer.headers.get("content-encoding", "identity").lower() != "identity":
                    raise MlflowError(
                        f"MLflow at {self.server} sent {what} compressed, though not asked to: "
                        "turn off compression in the proxy in front of MLflow"
                    )
                yield answer.iter_raw()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MlflowUnreachable(
                f"MLflow at {self.server} did not send {what} ({type(error).__name__}): run the job again, and check "
                "that this machine can reach MLflow"
            ) from error

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set one tag on the version; what it held before is gone."""
        body = {"name": name, "version": version, "key": key, "value": value}
        self._post("model-versions/set-tag", _Nothing, f"version {version!r} of model {name!r}", body)

    def webhooks(self) -> Iterator[Webhook]:
        """Give all webhooks, newest first."""
        for webhook in self._entries("webhooks", Webhook, "the list of webhooks", 100):
            if isinstance(webhook, Skipped):
                raise MlflowAnswerUnreadable(
                    f"MLflow at {self.server} has a webhook that can't be read ({webhook.fault}): delete it there"
                )
            yield webhook

    def create_webhook(self, name: str, url: str, events: Iterable[str], secret: str, *, active: bool = True) -> str:
        """Register a webhook for events such as `model_version.created`; give its id.

        One that isn't active gets no deliveries, and can be tested.
        """
        body = {"name": name, "url": url, "events": [_event(event) for event in events], "secret": secret}
        body |= {} if active else {"status": "DISABLED"}
        return self._post("webhooks", _WebhookAnswer, f"webhook {name!r}", body).webhook.webhook_id

    def update_webhook(
        self, webhook_id: str, *, secret: str | None = None, events: Iterable[str] = (), active: bool = False
    ) -> None:
        """Give it another secret or other events, or enable it.

        MLflow's test events know of it at once, its deliveries within a minute (`MLFLOW_WEBHOOK_CACHE_TTL`).
        """
        body: dict[str, Any] = {"events": [_event(event) for event in events]} if events else {}
        body |= ({"secret": secret} if secret else {}) | ({"status": "ACTIVE"} if active else {})
        request = self._client.build_request("PATCH", f"webhooks/{webhook_id}", json=body)
        self._call(request, _WebhookAnswer, f"webhook {webhook_id!r}")

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete it; `MlflowNotFound` where there is none."""
        request = self._client.build_request("DELETE", f"webhooks/{webhook_id}")
        self._call(request, _Nothing, f"webhook {webhook_id!r}")

    def test_webhook(self, webhook_id: str, event: str) -> WebhookTest:
        """Let MLflow send its test event of that kind, and give what the receiver answered."""
        path, body = f"webhooks/{webhook_id}/test", {"event": _event(event)}
        request = self._client.build_request("POST", path, json=body, timeout=_TEST_SECONDS)
        return self._call(request, _TestAnswer, f"webhook {webhook_id!r}", _TEST_SECONDS).result

    def _entries(
        self, path: str, shape: type[_Entry], what: str, most: int, query: Mapping[str, str] | None = None
    ) -> Iterator[_Entry | Skipped]:
        """Give the entries of a list over all of its pages.

        A page that is too large is requested again in smaller pages; a single entry that is too large is skipped.
        """
        size, token, passed, too_large = most, "", 0, 0
        for _ in range(_PAGES):
            page = dict(query or {}, max_results=str(size)) | ({"page_token": token} if token else {})
            try:
                answer = self._get(path, _Page, what, page)
            except MlflowAnswerTooLarge as error:
                too_large += 1
                if too_large > _TOO_LARGE:
                    raise
                if size > 1:
                    size = max(size // 10, 1)
                    continue
                yield Skipped(f"entry {passed + 1} of {what}", str(error))
                passed += 1
                token = _page_token(passed)
                continue
            size = min(size * 10, most)
            for entry in answer.entries:
                yield _entry(shape, entry)
            passed += len(answer.entries)
            if not answer.next_page_token:
                return
            if answer.next_page_token == token:
                break
            token = answer.next_page_token
        raise MlflowError(f"MLflow at {self.server} gave {what} in pages that never end: check MLFLOW_TRACKING_URI")

    def _get(self, path: str, shape: type[_Answer], what: str, query: Mapping[str, str] | None = None) -> _Answer:
        return self._call(self._client.build_request("GET", path, params=_encodable(query or {}, what)), shape, what)

    def _post(self, path: str, shape: type[_Answer], what: str, body: Mapping[str, Any]) -> _Answer:
        return self._call(self._client.build_request("POST", path, json=_encodable(body, what)), shape, what)

    def _call(self, request: httpx.Request, shape: type[_Answer], what: str, seconds: float | None = None) -> _Answer:
        try:
            answer = http_answers.ask_blocking(self._client, request, seconds=seconds or _SECONDS)
        except AnswerTooLarge as error:
            raise MlflowAnswerTooLarge(
                f"MLflow at {self.server} gave {error} for {what}: make it smaller in MLflow"
            ) from error
        except (AnswerUnreadable, httpx.HTTPError) as error:
            cause = error if isinstance(error, AnswerUnreadable) else type(error).__name__
            raise MlflowUnreachable(
                f"MLflow at {self.server} can't be reached ({cause}): check MLFLOW_TRACKING_URI, and "
                "that this machine can reach it (GitHub's hosted runners can't reach a private MLflow: use a "
                "self-hosted one)"
            ) from error
        self.date = answer.headers.get("date")
        if not answer.is_success:
            raise self._refusal(answer, what)
        try:
            return shape.model_validate(read_json(answer.content))
        except ValueError as error:
            raise MlflowAnswerUnreadable(
                f"MLflow at {self.server} gave an answer for {what} that is not of MLflow's REST API: "
                "check that MLFLOW_TRACKING_URI is MLflow's own address, not a sign-in page's"
            ) from error

    def _refusal(self, answer: httpx.Response, what: str) -> MlflowError:
        code, said = _error(answer)
        if answer.status_code == 403 and b"Invalid Host header" in answer.content:
            return MlflowRefused(
                f"MLflow at {self.server} refuses the host name it was called by (403 Invalid Host header): "
                f"start it with --allowed-hosts {self._host}"
            )
        if answer.status_code in (401, 403):
            return MlflowRefused(
                f"MLflow at {self.server} lets nobody at {what} with these credentials ({answer.status_code}): check "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, and their permissions"
            )
        if code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and said.endswith("not found.")):
            return MlflowNotFound(f"MLflow at {self.server} has no {what}: check the name, or whether it was deleted")
        if code == "INTERNAL_ERROR" and not said and "webhook" in what:  # its cryptography's error has no words
            return MlflowError(
                f"MLflow at {self.server} can't read its webhooks' secrets (500 INTERNAL_ERROR): start all its "
                "processes with the MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY that they were made with, or delete them in "
                "its database"
            )
        kind = MlflowBusy if answer.status_code == 429 or answer.is_server_error else MlflowError
        if not code:
            return kind(
                f"MLflow at {self.server} answered {answer.status_code} without an error of MLflow's for {what}: "
                "check MLFLOW_TRACKING_URI, any proxy before it, and that MLflow is 3.4 or newer"
            )
        return kind(
            f"MLflow at {self.server} refused the request for {what} ({answer.status_code} {code}: {said}): "
            "fix what it names"
        )


def _url(uri: str) -> httpx.URL:
    """Check the address, whose text may hold a password and so stands in no message."""
    try:
        url = httpx.URL(uri)
    except httpx.InvalidURL as error:
        raise MlflowError("MLFLOW_TRACKING_URI is no address: give one such as https://mlflow.example.com") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise MlflowError(
            "MLFLOW_TRACKING_URI is no address of a tracking server: give one that begins with http:// or https://"
        )
    return url


def _trust(cert_path: str | None) -> ssl.SSLContext | bool:
    if not cert_path:
        return True
    try:
        if Path(cert_path).is_dir():
            return ssl.create_default_context(capath=cert_path)
        return ssl.create_default_context(cafile=cert_path)
    except OSError as error:
        raise MlflowError(
            f"MLFLOW_TRACKING_SERVER_CERT_PATH {cert_path!r} can't be read as CA certificates: give a PEM file"
        ) from error


def _encodable(values: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    try:
        for value in values.values():
            str(value).encode()
    except UnicodeEncodeError as error:
        raise MlflowNotFound(f"MLflow can have no {what}: that is no valid Unicode; check the name") from error
    return values


def _event(event: str) -> dict[str, str]:
    """Give `model_version.created` as the API's pair of enum names."""
    entity, _, action = event.partition(".")
    return {"entity": entity.upper(), "action": action.upper()}


def _by_key(pairs: object, key: str, value: str) -> object:
    """Turn MLflow's list of pairs into a dict; what is no such list is left for pydantic to refuse."""
    if isinstance(pairs, list) and all(isinstance(pair, dict) and isinstance(pair.get(key), str) for pair in pairs):
        return {pair[key]: pair.get(value, "") for pair in pairs}
    return pairs


def _error(answer: httpx.Response) -> tuple[str, str]:
    """Give MLflow's error code and message, in one line; empty where the answer isn't MLflow's."""
    try:
        body = read_json(answer.content)
    except ValueError:
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    return _words(body, "error_code"), _words(body, "message")


def _words(body: Mapping[str, object], name: str) -> str:
    words = body.get(name)
    return " ".join(clean(words).split())[:300] if isinstance(words, str) else ""


def _entry(shape: type[_Entry], listed: object) -> _Entry | Skipped:
    """Read an entry. One with too long a name is skipped: a list of names of a megabyte each would fill the memory."""
    try:
        found = shape.model_validate(listed)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fault = clean(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    else:
        if len(found.name) <= MAX_TEXT:
            return found
        fault = f"name: it is longer than {MAX_TEXT} characters, give it a shorter one"
    named = [_words(listed, name) for name in ("name", "version")] if isinstance(listed, dict) else []
    return Skipped(f"the entry {' '.join(named)!r}", fault)


def _page_token(passed: int) -> str:
    """Give the token of the page that starts after `passed` entries, as MLflow's `SearchUtils` creates it."""
    return base64.b64encode(json.dumps({"offset": passed}).encode()).decode()
