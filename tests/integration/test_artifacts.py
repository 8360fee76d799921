"""Listings and files by which a tracking server, or anyone who can write to its store, could block or break a run."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.core import limits
from bridge.core.errors import BridgeError
from bridge.image import artifacts as module
from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.errors import UnsafeMetadata
from bridge.mlflow.client import MlflowApi, MlflowBusy, MlflowError, MlflowUnreachable
from tests.scripted_server import Request, ScriptedServer

Answer = Callable[[Request], None]
ROOT = "models/m-1"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.0, 0.0))


def file(path: str, size: int | None = 2) -> dict[str, Any]:
    return {"path": path, "is_dir": False} | ({"file_size": size} if size is not None else {})


def folder(path: str) -> dict[str, Any]:
    return {"path": path, "is_dir": True}


def holding(*files: dict[str, Any], content: Answer = lambda request: request.send(b"ok")) -> Answer:
    """Answer with a model that has these files and no folder below."""

    def answer(request: Request) -> None:
        if request.folder is None:
            content(request)
        elif request.folder == ROOT:
            request.list(*files)
        else:
            request.list()

    return answer


def download(answer: Answer, to: Path) -> ScriptedServer:
    """List and download the model as the steps do, and return the server with the requests that it got."""
    with ScriptedServer(answer) as server, MlflowApi(server.url, token="t") as mlflow:
        model = ModelArtifacts(f"mlflow-artifacts:/{ROOT}", mlflow)
        model.describe(to / "description")
        model.download(to / "model", model.sizes())
    return server


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_files_are_written_where_the_listing_has_them(tmp_path: Path) -> None:
    server = download(holding(file("MLmodel"), file("ü &=;+.bin"), folder("data")), tmp_path)
    assert everything_below(tmp_path) == {"description/MLmodel", "model/MLmodel", "model/ü &=;+.bin"}
    assert {headers["Authorization"] for _, headers in server.requests} == {"Bearer t"}
    files = [headers for path, headers in server.requests if "?path=" not in path]
    assert {headers["Accept-Encoding"] for headers in files} == {"identity"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "/etc/passwd",
        "../../x",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\x85b",
        "a#b",
        "a?b",
        "a%2e",
        "n" * 256,
        "é" * 128,
    ],
)
@pytest.mark.parametrize("kind", [file, folder])
def test_a_name_that_could_mean_something_else_ends_in_a_message(
    tmp_path: Path, name: str, kind: Callable[[str], dict[str, Any]]
) -> None:
    with pytest.raises(UnsafeMetadata) as refused:
        download(holding(kind(name)), tmp_path)
    assert repr(name)[:60].rstrip("'") in str(refused.value)
    assert everything_below(tmp_path) == set()


@pytest.mark.parametrize("pair", [(file("a"), folder("a")), (file("a"), file("a")), (folder("a"), folder("a"))])
def test_a_name_that_occurs_twice_ends_in_a_message(tmp_path: Path, pair: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(UnsafeMetadata, match="'a'"):
        download(holding(*pair), tmp_path)


def test_a_file_that_is_listed_as_a_folder_ends_in_a_message(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        if request.folder is None:
            request.send(b"ok")
        else:
            request.list(*([folder("MLmodel")] if request.folder == ROOT else [file("x")]))

    download(answer, tmp_path)
    with pytest.raises(UnsafeMetadata, match="MLmodel"):
        metadata_in(tmp_path / "model")


def test_folders_inside_each_other_have_an_end(tmp_path: Path) -> None:
    with pytest.raises(UnsafeMetadata):
        download(lambda request: request.list(folder("a" * 50)), tmp_path)


@pytest.mark.parametrize(("name", "kind"), [("MAX_MODEL_FOLDERS", folder), ("MAX_MODEL_FILES", file)])
def test_files_and_folders_beside_each_other_have_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: Callable[[str], dict[str, Any]]
) -> None:
    monkeypatch.setattr(limits, name, 20)
    with pytest.raises(UnsafeMetadata):
        download(lambda request: request.list(*(kind(str(number)) for number in range(3)), folder("more")), tmp_path)


def test_a_listing_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    sent = 0

    def answer(request: Request) -> None:
        nonlocal sent
        request.send(b'{"files": [', Content_Length="10000000000")
        for _ in range(2_000):
            sent += request.wfile.write(b'{"path": "a", "is_dir": false},' * 4_000)

    with pytest.raises(MlflowError):
        download(answer, tmp_path)
    assert sent < 20_000_000


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_listing_that_comes_a_byte_at_a_time_ends_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(module, "_LISTING_SECONDS", 0.3)

    def answer(request: Request) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: " + (b"" if part == "header" else b"\r\n\r\n"))
        while not request.server.stopping.wait(0.02):
            request.wfile.write(b" ")

    with pytest.raises(MlflowError):
        download(answer, tmp_path)


@pytest.mark.parametrize("listed", [0, 1, None, 3, 10**18])
def test_a_file_with_other_bytes_than_were_listed_ends_in_a_message(tmp_path: Path, listed: int | None) -> None:
    with pytest.raises(MlflowError, match=r"model\.bin"):
        download(holding(file("model.bin", listed)), tmp_path)


def test_no_more_of_a_file_is_written_than_was_listed(tmp_path: Path) -> None:
    def endless(request: Request) -> None:
        request.send(b"", Content_Length=str(10**12))
        while not request.server.stopping.is_set():
            request.wfile.write(bytes(100_000))

    with pytest.raises(MlflowError):
        download(holding(file("model.bin", 1_000), content=endless), tmp_path)
    assert (tmp_path / "model/model.bin").stat().st_size <= 1_000


def test_metadata_that_is_listed_as_too_long_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(UnsafeMetadata, match="MLmodel"):
        download(holding(file("MLmodel", 4_000_001)), tmp_path)


@pytest.mark.parametrize("where", ["listing", "file"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_answer_is_refused(tmp_path: Path, where: str, encoding: str) -> None:
    def compressed(request: Request) -> None:
        request.send(gzip.compress(bytes(10_000_000)), Content_Encoding=encoding)

    listed = holding(file("a", 10_000_000), content=compressed)
    with pytest.raises(MlflowError):
        download(compressed if where == "listing" else listed, tmp_path)
    assert all(path.stat().st_size == 0 for path in tmp_path.rglob("a"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["listing", "file"])
def test_a_redirect_is_not_followed(tmp_path: Path, status: int, where: str) -> None:
    with ScriptedServer() as evil:

        def redirect(request: Request) -> None:
            request.send(b"", status, Location=f"{evil.url}/x")

        with pytest.raises(MlflowError):
            download(redirect if where == "listing" else holding(file("a"), content=redirect), tmp_path)
        assert evil.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"[]", b"nothing", b"\xff", b"[" * 100_000),
        *(b'{"files": %s}' % files for files in (b"1", b"[1]", b'[{"path": 1}]', b"[{}]", b'[{"path": "\\ud800"}]')),
        *(b'{"files": [{"path": "a", "file_size": %s}]}' % size for size in (b"-1", b'"x"', b"1.5", b"1e999", b"[]")),
    ],
)
def test_an_answer_that_is_no_listing_ends_in_a_message(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(BridgeError):
        download(lambda request: request.send(answer), tmp_path)


def test_an_error_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        request.send(b"", 404, Content_Length=str(10**12))
        while not request.server.stopping.is_set():
            request.wfile.write(bytes(100_000))

    with pytest.raises(MlflowError):
        download(answer, tmp_path)


@pytest.mark.parametrize("where", ["listing", "file"])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_retried(tmp_path: Path, status: int, where: str) -> None:
    failed: list[str] = []
    model = holding(file("a"))

    def answer(request: Request) -> None:
        if (request.folder is None) == (where == "file") and len(failed) < 2:
            failed.append(request.path)
            request.send(b"later", status)
        else:
            model(request)

    download(answer, tmp_path)
    assert len(failed) == 2
    assert (tmp_path / "model/a").read_bytes() == b"ok"


def test_a_failure_that_stays_ends_in_a_message(tmp_path: Path) -> None:
    with pytest.raises(MlflowBusy):
        download(lambda request: request.send(b"", 503), tmp_path)


def test_a_file_that_breaks_off_is_downloaded_again(tmp_path: Path) -> None:
    broken: list[str] = []

    def content(request: Request) -> None:
        if broken:
            request.send(b"ok")
        else:
            broken.append(request.path)
            request.send(b"o", Content_Length="2")
            request.connection.close()

    download(holding(file("a"), content=content), tmp_path)
    assert (broken, (tmp_path / "model/a").read_bytes()) == ([f"/api/2.0/mlflow-artifacts/artifacts/{ROOT}/a"], b"ok")


def test_a_server_that_is_gone_ends_in_a_message(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        url = server.url
    with MlflowApi(url) as mlflow, pytest.raises(MlflowUnreachable):
        ModelArtifacts("mlflow-artifacts:/x", mlflow).sizes()


def test_the_prefix_of_the_tracking_address_is_kept(tmp_path: Path) -> None:
    with ScriptedServer(lambda request: request.list()) as server, MlflowApi(f"{server.url}/ml flow/") as mlflow:
        ModelArtifacts("mlflow-artifacts:/a b/c", mlflow).sizes()
    assert [path for path, _ in server.requests] == ["/ml%20flow/api/2.0/mlflow-artifacts/artifacts?path=a+b%2Fc"]
