"""With MLflow's builder, the bridge's release decides what is installed, not the index: real uv and a test index."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from bridge.image import docker
from bridge.image.errors import BuildFailed, UnsupportedModel

_OLD, _NEW = "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
_PYTHON = ".".join(str(part) for part in sys.version_info[:3])
_MARK = "import pathlib; pathlib.Path({mark!r}).touch()\n"
_COMMAND = """
import pathlib, helper
def main():
    pathlib.Path({built!r}).write_text(helper.VERSION)
"""
_BACKEND = _MARK + "raise SystemExit('the code of a source distribution ran')\n"


class Index:
    """A package index (PEP 503 and PEP 691) in a folder. Its bad packages write `mark`, its MLflow writes `built`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark, self.built = folder / "index", folder / "mark", folder / "built"
        self.url = ""

    def wheel(self, name: str, version: str, published: str, *, code: str = "", needs: str = "") -> None:
        """Add a wheel whose module is `code`; that of MLflow has the command that uvx is to run."""
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": code,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            + (f"Requires-Dist: {needs}\n" if needs else ""),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": "[console_scripts]\nmlflow = mlflow:main\n" if name == "mlflow" else "",
        }
        record = [f"{path},sha256={_digest(text.encode())},{len(text)}" for path, text in files.items()]
        files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"])
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        self._add(name, f"{name}-{version}-py3-none-any.whl", content.getvalue(), published)

    def sdist(self, name: str, version: str, published: str) -> None:
        """Add a source distribution whose build writes the mark; it needs no other package to be built."""
        files = {
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": _BACKEND.format(mark=str(self.mark)),
        }
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(f"{name}-{version}/{path}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        self._add(name, f"{name}-{version}.tar.gz", content.getvalue(), published)

    def mlflow(self, version: str, *, needs: str = "helper", published: str = _OLD) -> None:
        """Add a release of MLflow."""
        self.wheel("mlflow", version, published, code=_COMMAND.format(built=str(self.built)), needs=needs)

    def bad(self, name: str, version: str, published: str, *, needs: str = "") -> None:
        """Add a wheel whose module writes the mark when it is imported."""
        self.wheel(name, version, published, code=_MARK.format(mark=str(self.mark)) + "VERSION = 'bad'\n", needs=needs)

    def _add(self, name: str, file: str, content: bytes, published: str) -> None:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
        listing = folder / "index.json"
        files = json.loads(listing.read_text())["files"] if listing.exists() else []
        hashes = {"sha256": hashlib.sha256(content).hexdigest()}
        files.append({"filename": file, "url": file, "hashes": hashes, "size": len(content), "upload-time": published})
        listing.write_text(json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}))


class Handler(SimpleHTTPRequestHandler):
    """Serves each folder's listing under the type that PEP 691 gives it."""

    def do_GET(self) -> None:
        listing = Path(self.translate_path(self.path)) / "index.json"
        if not listing.is_file():
            super().do_GET()
            return
        content = listing.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index with a helper that is fine; uv knows no other, and has a home of its own."""
    index = Index(tmp_path)
    index.wheel("helper", "1.0", _OLD, code="VERSION = '1.0'\n")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Handler(*given, directory=str(index.folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        yield index
        server.shutdown()


def build(version: str) -> None:
    docker.build_with_mlflow(Path("model"), "r/iris:7", mlflow_version=version, python_version=_PYTHON)


def test_a_dependency_that_was_published_after_the_releases_date_is_not_run(index: Index) -> None:
    index.mlflow("3.17.2")
    index.bad("helper", "2.0", _NEW)
    build("3.17.2")
    assert index.built.read_text() == "1.0"
    assert not index.mark.exists()


def test_a_dependency_that_comes_as_source_is_not_built(index: Index) -> None:
    index.mlflow("3.17.2")
    index.sdist("helper", "2.0", _OLD)
    build("3.17.2")
    assert index.built.read_text() == "1.0"
    assert not index.mark.exists()


def test_an_index_of_a_uv_configuration_that_lies_on_the_runner_is_not_asked(index: Index) -> None:
    index.mlflow("3.17.2")
    other = Index(index.folder / "other")
    other.mark = index.mark
    other.bad("helper", "2.0", _OLD)
    configuration = Path.home() / ".config/uv/uv.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f'[[index]]\nurl = "{index.url}/other/index"\n')
    build("3.17.2")
    assert index.built.read_text() == "1.0"
    assert not index.mark.exists()


def test_an_mlflow_that_is_installed_on_the_runner_is_not_run(index: Index) -> None:
    index.mlflow("3.17.2")
    index.bad("helper", "2.0", _OLD)
    subprocess.run(["uv", "tool", "install", "--quiet", "mlflow==3.17.2"], env=docker.environment(), check=True)
    (index.folder / "helper" / "index.json").unlink()
    index.wheel("helper", "3.0", _OLD, code="VERSION = '3.0'\n")
    build("3.17.2")
    assert index.built.read_text() == "3.0"
    assert not index.mark.exists()


@pytest.mark.parametrize("published", [_OLD, _NEW])
def test_an_mlflow_that_is_there_only_as_source_or_too_new_is_refused_before_and_in_a_build(
    index: Index, published: str
) -> None:
    index.mlflow("3.17.2")
    if published == _OLD:
        index.sdist("mlflow", "3.17.3", published)
    else:
        index.bad("mlflow", "3.17.3", published)
    docker.check_mlflow("3.17.2", _PYTHON)
    with pytest.raises(UnsupportedModel):
        docker.check_mlflow("3.17.3", _PYTHON)
    with pytest.raises(BuildFailed):
        build("3.17.3")
    assert not index.mark.exists()


def test_a_runner_without_uv_gets_the_locked_one(tmp_path: Path) -> None:
    action = Path(__file__).parents[2] / ".github/actions/install-uv"
    (step,) = yaml.safe_load((action / "action.yml").read_text())["runs"]["steps"]
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cut", "grep"):
        (programs / name).symlink_to(str(shutil.which(name)))
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    files = {"RUNNER_TEMP": tmp_path, "GITHUB_PATH": tmp_path / "path", "GITHUB_ACTION_PATH": action}
    environment = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    environment |= {"PATH": str(programs), "HOME": str(tmp_path)} | {name: str(file) for name, file in files.items()}
    subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], env=environment, check=True)
    added = (tmp_path / "path").read_text().strip()
    version = subprocess.run([f"{added}/uv", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    assert f"uv=={version} " in (action.parents[2] / "requirements/uv.txt").read_text()
