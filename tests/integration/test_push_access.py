"""The check before a push against servers: a real registry, and scripted answers of others."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.image.errors import RegistryError
from bridge.image.registry import diagnosis, push_access
from bridge.image.registry.client import Repository
from bridge.image.registry.credentials import AccessSettings
from bridge.image.registry.push_access import check_push
from tests.integration import hostile_server
from tests.loopback.registry import Registry

GOOGLE_KEY = '{\n  "type": "service_account",\n  "private_key": "-----BEGIN PRIVATE KEY-----\\nMIIE\\n"\n}\n'
UPLOADS = "/v2/demo/iris/blobs/uploads/"


@dataclass
class Answer:
    status: int
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    call: str
    query: dict[str, list[str]]
    authorization: str
    form: dict[str, list[str]]


@dataclass
class Scripted:
    """A registry with one answer for each `METHOD /path`, and the requests that it got."""

    host: str
    answers: dict[str, Answer]
    asked: list[Asked] = field(default_factory=list)

    @property
    def calls(self) -> list[str]:
        return [asked.call for asked in self.asked]


@contextmanager
def serving() -> Iterator[Scripted]:
    """Serve like GHCR: a token for everybody, who may then push."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            url = urlsplit(self.path)
            form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            call = f"{self.command} {url.path}"
            asked = Asked(call, parse_qs(url.query), self.headers.get("Authorization", ""), parse_qs(form))
            scripted.asked.append(asked)
            answer = scripted.answers[call]
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host = f"127.0.0.1:{server.server_address[1]}"
        challenge = f'Bearer realm="http://{host}/token?of=demo",service="ghcr.io",scope="repository:demo/iris:pull"'
        scripted = Scripted(
            host,
            {
                "GET /v2/": Answer(401, headers={"WWW-Authenticate": challenge}),
                "GET /token": Answer(200, {"token": "t0ken"}),
                "POST /token": Answer(200, {"access_token": "t0ken"}),
                f"POST {UPLOADS}": Answer(
                    202, headers={"Location": f"http://elsewhere.example{UPLOADS}1?_state=a%2Bb"}
                ),
                f"DELETE {UPLOADS}1": Answer(204),
            },
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield scripted
        server.shutdown()
        thread.join()


@pytest.fixture
def registry() -> Iterator[Scripted]:
    with serving() as registry:
        yield registry


def signed_in(folder: Path, host: str, user: str = "demo", password: str = "", **more: str) -> Repository:
    """Write Docker's config.json, as `docker login` does; return a repository of the registry."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth, **more}}}))
    return Repository(f"{host}/demo/iris", folder)


def access(repository: Repository) -> AccessSettings:
    return AccessSettings(docker_registry=repository.name.split("/")[0])


def refused(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"errors": [{"code": code, "message": message}]})


def test_a_real_registry_accepts_who_is_signed_in_and_keeps_no_upload(tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        repository = signed_in(tmp_path, registry.host, registry.user, registry.password)
        check_push(repository, access(repository))
        (upload,) = (tmp_path / "registry").rglob("_uploads/*")
        assert not (upload / "data").exists()
        assert not (upload / "startedat").exists()
        with pytest.raises(RegistryError) as error:
            check_push(signed_in(tmp_path, registry.host, registry.user, "wrong"), access(repository))
    assert error.value.hint == diagnosis.diagnose_push("unauthorized", registry.host).hint
    assert "wrong" not in str(error.value)


def test_an_upload_is_started_with_a_token_to_push_and_cancelled_at_the_registrys_own_address(
    registry: Scripted, tmp_path: Path
) -> None:
    repository = signed_in(tmp_path, registry.host)
    check_push(repository, access(repository))
    assert registry.calls == ["GET /v2/", "GET /token", f"POST {UPLOADS}", f"DELETE {UPLOADS}1"]
    _, token, upload, cancelled = registry.asked
    assert token.query == {"of": ["demo"], "service": ["ghcr.io"], "scope": ["repository:demo/iris:pull,push"]}
    assert token.authorization == "Basic " + base64.b64encode(b"demo:").decode()
    assert [upload.authorization, cancelled.authorization] == ["Bearer t0ken"] * 2
    assert cancelled.query == {"_state": ["a+b"]}


def test_a_refresh_token_as_docker_keeps_it_for_azure_is_exchanged(registry: Scripted, tmp_path: Path) -> None:
    repository = signed_in(tmp_path, registry.host, identitytoken="refresh")
    check_push(repository, access(repository))
    asked = registry.asked[1]
    assert (asked.call, asked.authorization) == ("POST /token", "")
    assert (asked.form["grant_type"], asked.form["refresh_token"]) == (["refresh_token"], ["refresh"])
    assert asked.form["scope"] == ["repository:demo/iris:pull,push"]
    assert registry.asked[2].authorization == "Bearer t0ken"


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("_json_key", GOOGLE_KEY),
        ("_json_key", json.dumps(json.loads(GOOGLE_KEY))),
        ("_json_key_base64", base64.b64encode(GOOGLE_KEY.encode()).decode()),
    ],
)
def test_each_form_of_a_google_key_is_sent_as_it_is(
    registry: Scripted, tmp_path: Path, user: str, password: str
) -> None:
    repository = signed_in(tmp_path, registry.host, user, password)
    check_push(repository, access(repository))
    scheme, _, sent = registry.asked[1].authorization.partition(" ")
    assert (scheme, base64.b64decode(sent).decode()) == ("Basic", f"{user}:{password}")


@pytest.mark.parametrize("call", [f"POST {UPLOADS}", "GET /token"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_upload_or_token_is_an_error_with_the_diagnosis_of_a_refused_push(
    registry: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, status: int
) -> None:
    monkeypatch.setattr(diagnosis, "_DIAGNOSES", [(r"127\..*", *row[1:]) for row in diagnosis._DIAGNOSES])
    registry.answers[call] = refused(status, "DENIED", "permission_denied: write_package")
    repository = signed_in(tmp_path, registry.host)
    with pytest.raises(RegistryError) as error:
        check_push(repository, access(repository))
    assert error.value.hint == diagnosis.diagnose("denied: permission_denied: write_package", registry.host).hint  # type: ignore[union-attr]
    assert "denied: permission_denied: write_package" in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize("call", ["GET /v2/", "GET /token", f"POST {UPLOADS}", f"DELETE {UPLOADS}1"])
@pytest.mark.parametrize(
    "answer",
    [
        refused(404, "NAME_UNKNOWN", "nothing here"),
        refused(405, "UNSUPPORTED", "not that way"),
        Answer(500, b"<html>\xff"),
        Answer(503, {"errors": [None, 7]}),
        Answer(307, headers={"Location": "http://elsewhere.example/"}),
        Answer(200, [1]),
        Answer(200, b" " * 100_000),
    ],
)
def test_any_answer_but_a_refusal_leaves_the_run_to_the_push(
    registry: Scripted, tmp_path: Path, call: str, answer: Answer
) -> None:
    registry.answers[call] = answer
    repository = signed_in(tmp_path, registry.host)
    check_push(repository, access(repository))
    assert "elsewhere" not in " ".join(registry.calls)


@pytest.mark.parametrize(
    "challenge",
    ['Bearer realm="http://0.0.0.0:PORT/token"', "Bearer realm", "Bearer x=y", 'Bearer realm="https://["'],
)
def test_a_challenge_that_is_not_to_be_followed_leaves_the_run_to_the_push(
    registry: Scripted, tmp_path: Path, challenge: str
) -> None:
    registry.answers["GET /v2/"] = Answer(
        401, headers={"WWW-Authenticate": challenge.replace("PORT", registry.host.split(":")[1])}
    )
    repository = signed_in(tmp_path, registry.host)
    check_push(repository, access(repository))
    assert registry.calls == ["GET /v2/"]


@pytest.mark.parametrize("answer", hostile_server.TOO_LARGE + hostile_server.TOO_SLOW)
def test_an_endless_answer_ends_the_check_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: hostile_server.Answer
) -> None:
    monkeypatch.setattr(push_access, "_SECONDS", 1.0)
    with hostile_server.serving({"": answer}) as server:
        repository = signed_in(tmp_path, server.url.removeprefix("http://"))
        started = time.monotonic()
        check_push(repository, access(repository))
    assert time.monotonic() - started < 5


def test_a_registry_that_does_not_answer_leaves_the_run_to_the_push(tmp_path: Path) -> None:
    with serving() as registry:
        repository = signed_in(tmp_path, registry.host)
    check_push(repository, access(repository))
