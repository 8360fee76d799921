"""The smoke test of models whose code attacks the runner: each attack ends at a limit, by a real engine."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from bridge.image import docker as engine
from bridge.image import sandbox
from bridge.image.errors import SmokeTestFailed
from bridge.image.steps import smoke_test
from tests.e2e.containers import docker
from tests.loopback.stage import base_image, missing_for_images

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

def temporary_files():
    """Write 1.2 GB to the folders that are there to be written to."""
    return written(["/tmp", "/dev/shm", "/run", "/var/lib/nginx", "/var/log/nginx"], 1_200_000_000) >= 1_200_000_000

def disk():
    """Write 100 MB where files are on the runner's disk."""
    roots = [each for each in pathlib.Path("/").iterdir() if each.name not in ("proc", "sys", "dev", "tmp")]
    return written([str(each) for each in [pathlib.Path("/"), *roots, pathlib.Path("/var/tmp")]], 100_000_000) > 0

def written(folders, most):
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
    """Open 17,000 files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    opened = []
    try:
        for _ in range(17_000):
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
    """Reach any other host."""
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
    """Start a process that detaches from its parent."""
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
"""Programs that answer /ping only where the attack got through, and else end with status 3."""


STOPPED = (
    "memory", "temporary_files", "disk", "large_file", "processes", "open_files", "capabilities", "network",
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


@pytest.mark.parametrize("attack", STOPPED)
def test_an_attack_ends_at_a_limit_and_the_smoke_test_fails(attack: str, name: str) -> None:
    with started(f"{name}:{attack}") as container:
        with pytest.raises(SmokeTestFailed) as raised:
            smoke_test.ping(container, attack)
        code = int(docker("wait", container.id).stdout)
        assert code in (3, 128 + signal.SIGKILL)
        assert f"exit code {code}" in raised.value.message
        assert ("memory" in raised.value.message) is (code != 3)


@contextmanager
def started(image: str) -> Iterator[engine.Container]:
    """Start the image as the smoke test does."""
    container = engine.Container.start(image, network=False)
    try:
        yield container
    finally:
        container.remove()


def test_of_a_flood_in_the_log_little_is_kept(name: str) -> None:
    with started(f"{name}:log") as container:
        smoke_test.ping(container, "log")
        kept = docker("logs", container.id).stdout
        assert 0 < len(kept) <= sandbox.LOG_BYTES * sandbox.LOG_FILES


def test_a_process_that_a_model_leaves_is_gone_with_its_container(name: str) -> None:
    with started(f"{name}:stays") as container:
        smoke_test.ping(container, "stays")
        assert running(STAYS)
    assert not running(STAYS)


def running(word: str) -> bool:
    """Tell whether a process of this machine has the word in its command."""
    found = False
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found |= word.encode() in path.read_bytes()
    return found
