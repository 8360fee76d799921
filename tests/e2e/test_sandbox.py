"""The smoke test of models whose code attacks the runner: each attack ends at a limit, by a real engine."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bridge.demo.stage import base_image, missing_for_images
from bridge.image import engine, sandbox, smoke_test
from bridge.image.builder import Builder
from bridge.image.errors import SmokeTestFailed
from bridge.image.metadata import ModelMetadata
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Plan, Workspace
from tests.e2e.containers import docker

MACHINE = 1 << 30
"""Bytes of memory that the engine's machine seems to have: the attacks go a little beyond, on old code as well."""

STAYS = f"86{uuid4().int % 10**9:09}"
"""Seconds, and no other process's."""
ATTACKS = '''
import ctypes, os, pathlib, resource, socket, subprocess, sys, time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

def memory():
    """Take 1.2 GB."""
    held = []
    for _ in range(120):
        held.append(os.urandom(10_000_000))
    return True

def shared_memory():
    """Take 1.2 GB of temporary files, where each folder has room."""
    return written(["/tmp", "/dev/shm", "/run", "/var/lib/nginx", "/var/log/nginx"]) > 1_200_000_000

def disk():
    """Write 100 MB where files are on the runner's disk."""
    roots = [each for each in pathlib.Path("/").iterdir() if each.name not in ("proc", "sys", "dev", "tmp")]
    return written([str(each) for each in [pathlib.Path("/"), *roots, pathlib.Path("/var/tmp")]], 100_000_000) > 0

def written(folders, most=300_000_000):
    total = 0
    for folder in folders:
        with suppress(OSError), open(folder + "/attack", "wb", buffering=0) as file:
            for _ in range(most // 10_000_000):
                total += file.write(os.urandom(10_000_000))
    return total

def large_file():
    """Make one file of 1 GB, without content."""
    with open("/tmp/attack", "wb") as file:
        try:
            file.truncate(1_000_000_000)
        except OSError:
            return False
    return True

def processes():
    """Start 1,200 processes."""
    started = []
    try:
        for _ in range(1200):
            started.append(subprocess.Popen(["sleep", "600"]))
    except OSError:
        return False
    finally:
        for each in started:
            each.kill()
    return True

def open_files():
    """Open 70,000 files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    opened = []
    try:
        for _ in range(70_000):
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return False
    finally:
        for each in opened:
            os.close(each)
    return True

def capabilities():
    """Become root, have a capability, or get one by a program that gives it."""
    status = dict(line.split(":\\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    with suppress(OSError):
        os.setuid(0)
    sets = [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    return os.getuid() == 0 or any(sets) or status["NoNewPrivs"].strip() != "1"

def network():
    """Reach anything but oneself."""
    with suppress(OSError):
        socket.create_connection(("1.1.1.1", 53), timeout=2)
        return True
    return os.listdir("/sys/class/net") != ["lo"]

def log():
    """Print 20 MB."""
    for _ in range(20_000):
        print("x" * 999)
    return True

def stays():
    """Start a process that leaves the family."""
    subprocess.Popen(["sleep", "STAYS"], start_new_session=True)
    return True

if globals()[sys.argv[1]]():
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
    HTTPServer(("127.0.0.1", 8080), Answer).serve_forever()
sys.exit(3)
'''.replace("STAYS", STAYS)
"""Programs that answer /ping only where the attack got through."""


STOPPED = (
    "memory", "shared_memory", "disk", "large_file", "processes", "open_files", "capabilities", "network",
)  # fmt: skip
KINDS = (*STOPPED, "log", "stays")


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of images with the attacks; their tags are the attacks that they start with."""
    if lacking := missing_for_images():
        pytest.skip(lacking)
    folder, name = tmp_path_factory.mktemp("attacks"), f"mlflow-bridge-test-{uuid4().hex[:8]}"
    (folder / "attacks.py").write_text(ATTACKS)
    stages = [f'FROM attacks AS {kind}\nCMD ["{kind}"]\n' for kind in KINDS]
    (folder / "Dockerfile").write_text(
        f'FROM {base_image()} AS attacks\nCOPY attacks.py /\nENTRYPOINT ["python", "-u", "/attacks.py"]\n'
        + "".join(stages)
    )
    for kind in KINDS:
        docker("build", "--quiet", "--target", kind, "--tag", f"{name}:{kind}", str(folder))
    yield name
    for kind in KINDS:
        docker("image", "rm", "--force", f"{name}:{kind}")


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sandbox.options
    monkeypatch.setattr(sandbox, "options", lambda _memory, cpus, root: real(MACHINE, cpus, root=root))


def tried(image: str, folder: Path) -> None:
    """Do the step "smoke test" with that image."""
    workspace = Workspace(folder / "work")
    metadata = ModelMetadata("3.17.2", "3.11.7", has_serving_example=False)
    workspace.write_plan(Plan("attack", "1", "models:/m-1", "", "r.example/attack", "ping", metadata, Builder()))
    workspace.write_image_id(image)
    smoke_test.smoke_test(ImageSettings(), workspace)


@pytest.mark.parametrize("attack", STOPPED)
def test_a_model_that_attacks_the_runner_fails_its_smoke_test(attack: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(SmokeTestFailed):
        tried(f"{name}:{attack}", tmp_path)


def test_a_model_that_floods_its_log_has_little_of_it_kept(name: str) -> None:
    container = engine.Container.start(f"{name}:log", network=False)
    try:
        smoke_test._ping(container, "log")
        kept = docker("logs", container.id).stdout
        assert 0 < len(kept) < 2 * sandbox.LOG_BYTES * sandbox.LOG_FILES
    finally:
        container.remove()


def test_a_process_that_a_model_leaves_is_gone_with_its_container(name: str, tmp_path: Path) -> None:
    tried(f"{name}:stays", tmp_path)
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert [each for each in commands if STAYS.encode() in each] == []
