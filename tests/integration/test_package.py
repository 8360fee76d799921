"""The built package: its files, and that the wheel runs without the checkout. WHEEL may name a wheel that was built."""

import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import httpx2
import pytest

from tests.integration.conftest import REPOSITORY, SECRET, TOKEN
from tests.loopback.servers import Server, free_port

ROOT = Path(__file__).parents[2]
PASSWORD = "sentinel-password-of-the-page"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built wheel and sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    given = os.environ.get("WHEEL")
    return Path(given).absolute() if given else next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and the locked dependencies."""
    environment, uv = tmp_path_factory.mktemp("installed") / "venv", Path(sys.executable).with_name("uv")
    python = ["--python", str(environment / "bin/python")]
    locked = ["--require-hashes", "-r", str(ROOT / "requirements/runtime.txt")]
    for command in (
        ["venv", "--python", sys.executable, str(environment)],
        ["pip", "install", *python, *locked],
        ["pip", "install", *python, "--no-deps", str(wheel)],
    ):
        done = subprocess.run([uv, "--quiet", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return environment / "bin"


class InstalledBridge(Server):
    """`mlflow-bridge serve` of the wheel."""

    title = "installed-bridge"

    def __init__(self, programs: Path, folder: Path) -> None:
        port = free_port()
        settings = {
            "MLFLOW_WEBHOOK_SECRET": SECRET,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": "http://127.0.0.1:9",  # nothing listens there
            "ADMIN_PASSWORD": PASSWORD,
            "PORT": str(port),
        }
        super().__init__([str(programs / "mlflow-bridge"), "serve"], settings, folder, port)


def test_the_wheel_holds_the_bridge_and_nothing_of_its_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        content = b"".join(archive.read(name) for name in names)
    assert "bridge/server/templates/versions.html" in names
    assert {name.partition("/")[0] for name in names} == {"bridge"}
    for part in (b"LoopbackGitHub", b"ActRunner", b"MDEyMzQ1Njc4OTAx"):  # the last is the demo's fixed key
        assert part not in content


def test_the_sdist_holds_everything_that_the_demo_needs(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("Makefile", "requirements/dev.txt", "tests/loopback/demo.py", ".github/workflows/model-image.yml"):
        assert name in names
    assert not [name for name in names if name.startswith((".venv/", ".git/"))]


def test_the_command_of_the_wheel_prints_its_help(programs: Path, tmp_path: Path) -> None:
    command = [str(programs / "mlflow-bridge"), "--help"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    print(f"mlflow-bridge --help took {time.perf_counter() - began:.2f} s")
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


def test_the_bridge_of_the_wheel_serves_its_pages(programs: Path, tmp_path: Path) -> None:
    with InstalledBridge(programs, tmp_path) as bridge:
        page = httpx2.get(bridge.url, auth=("admin", PASSWORD), follow_redirects=True, trust_env=False, timeout=30)
    assert page.status_code == 200, page.text
    assert "text/html" in page.headers["content-type"]
