"""The project's images on local base images, and containers of them, which are removed at the end."""

import json
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.loopback.stage import base_image, missing_for_images
from tests.waiting import until

ROOT = Path(__file__).parents[2]


def docker(*arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run docker; fails unless it ends with this status, or with any for None."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=3600)
    assert status in (None, done.returncode), f"docker {arguments[0]} ended with {done.returncode}: {done.stderr}"
    return done


class Container:
    """A running container."""

    def __init__(self, name: str) -> None:
        self.name = name

    def url(self, port: int) -> str:
        """Return the address of the container's port on this machine."""
        return f"http://{docker('port', self.name, str(port)).stdout.splitlines()[0]}"

    @property
    def logs(self) -> str:
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads(docker("inspect", "--format", "{{json .State}}", self.name).stdout))

    def run(self, *command: str, status: int | None = 0) -> str:
        """Run a command in it; returns its output."""
        done = docker("exec", self.name, *command, status=status)
        return done.stdout + done.stderr

    def wait_until_healthy(self) -> None:
        """Wait until the command of HEALTHCHECK succeeds in it."""
        health = json.loads(docker("inspect", "--format", "{{json .Config.Healthcheck.Test}}", self.name).stdout)
        assert health[0] == "CMD"

        def is_healthy() -> bool:
            assert self.state["Running"], self.logs
            return docker("exec", self.name, *health[1:], status=None).returncode == 0

        until(is_healthy, show=lambda: self.logs)

    def stop(self) -> int:
        """Return the exit status after `docker stop`: 137 if it didn't end within ten seconds."""
        docker("stop", self.name)
        return int(self.state["ExitCode"])


@contextmanager
def container(image: str, *options: str, command: Sequence[str] = ()) -> Iterator[Container]:
    """Start a container, which is removed with its anonymous volumes at the end."""
    started = Container(docker("run", "--detach", *options, image, *command).stdout.strip())
    try:
        yield started
    finally:
        docker("rm", "--force", "--volumes", started.name)


@contextmanager
def volume() -> Iterator[str]:
    """Create a volume and yield its name."""
    name = docker("volume", "create").stdout.strip()
    try:
        yield name
    finally:
        docker("volume", "rm", "--force", name)


@contextmanager
def network() -> Iterator[str]:
    """Create a network and yield its name."""
    name = f"mlflow-bridge-test-{secrets.token_hex(4)}"
    docker("network", "create", name)
    try:
        yield name
    finally:
        docker("network", "rm", name)


@contextmanager
def also_called(image: str, name: str) -> Iterator[str]:
    """Give an image another name until `with` is left, unless that name exists."""
    exists = docker("image", "inspect", name, status=None).returncode == 0
    if not exists:
        docker("tag", image, name)
    try:
        yield name
    finally:
        if not exists:
            docker("image", "rm", name)


def wait_until_answers(url: str) -> None:
    """Wait until a server answers there, with any status."""

    def answers() -> bool:
        with suppress(httpx2.HTTPError):
            httpx2.get(url, timeout=5, trust_env=False)
            return True
        return False

    until(answers)


def size(image: str) -> int:
    """Return an image's size in bytes, with its base."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image).stdout)


class Images:
    """The project's images, built at their first use, with unique names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"mlflow-bridge-test-{secrets.token_hex(4)}"
        self._built: list[str] = []

    @cached_property
    def bridge(self) -> str:
        return self.build(ROOT, "bridge", "--build-arg", f"BASE_IMAGE={base_image()}")

    @cached_property
    def tracking(self) -> str:
        return self.build(ROOT / "tracking", "tracking", "--build-arg", f"BASE_IMAGE={self.mlflow}")

    @cached_property
    def mlflow(self) -> str:
        """In place of MLflow's own image: its locked version on Python's."""
        return self._python("mlflow", base_image(), f"mlflow=={version('mlflow')}")

    @cached_property
    def s3(self) -> str:
        """An S3 server at port 9000: moto's. It asks for no keys unless INITIAL_NO_AUTH_ACTION_COUNT is 0."""
        return self._python(
            "s3", self.mlflow, f"moto[s3]=={version('moto')}", 'CMD ["moto_server", "-H", "0.0.0.0", "-p", "9000"]'
        )

    @cached_property
    def postgres(self) -> str:
        """In place of PostgreSQL's own image: Debian's, with the same variables."""
        context = self._folder / "postgres"
        context.mkdir()
        (context / "Dockerfile").write_text(_POSTGRES.format(base=base_image()))
        (context / "serve").write_text(_SERVE_POSTGRES)
        return self.build(context, "postgres")

    def name(self, name: str) -> str:
        """Return the name for an image that something else builds, and that is removed at the end, too."""
        tag = f"{self._name}/{name}"
        self._built.append(tag)
        return tag

    def build(self, context: Path, name: str, *options: str) -> str:
        """Build an image; returns its name."""
        tag = self.name(name)
        docker("build", "--quiet", "--tag", tag, *options, str(context))
        return tag

    def remove(self) -> None:
        """Remove the images; their build cache stays."""
        for tag in self._built:
            docker("image", "rm", "--force", tag, status=None)

    def _python(self, name: str, base: str, requirement: str, last: str = "") -> str:
        """Build an image with a package at the versions in this environment."""
        context = self._folder / name
        context.mkdir()
        locked = {
            f"{package.name}=={package.version}"
            for package in distributions()
            if package.name != "mlflow-actions-bridge"
        }
        (context / "locked.txt").write_text("\n".join(sorted(locked)))
        (context / "Dockerfile").write_text(
            f"FROM {base}\nCOPY locked.txt /\n"
            f"RUN python -m pip install --no-cache-dir --constraint /locked.txt '{requirement}'\n{last}\n"
        )
        return self.build(context, name)


_POSTGRES = """\
FROM {base}
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
RUN install --directory --owner postgres --group postgres --mode 3777 /var/lib/postgresql/data /var/run/postgresql
COPY serve /
USER postgres
CMD ["sh", "/serve"]
"""
_SERVE_POSTGRES = """\
set -eu
data=/var/lib/postgresql/data
programs=$(echo /usr/lib/postgresql/*/bin)
chmod 700 $data
if [ ! -s $data/PG_VERSION ]; then
  printf %s "$POSTGRES_PASSWORD" >/tmp/password
  "$programs/initdb" --pgdata $data --username "$POSTGRES_USER" --pwfile /tmp/password \\
    --encoding UTF8 --locale C --no-sync >/dev/null
  echo "host all all all scram-sha-256" >>$data/pg_hba.conf
  echo "create database $POSTGRES_DB" | "$programs/postgres" --single -D $data postgres >/dev/null
fi
exec "$programs/postgres" -D $data -c listen_addresses='*'
"""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """The project's images."""
    if missing := missing_for_images():
        pytest.skip(missing)
    with ExitStack() as stack:
        images = Images(tmp_path_factory.mktemp("images"))
        stack.callback(images.remove)
        yield images


__all__ = [
    *("ROOT", "Container", "Images", "also_called", "container", "docker"),
    *("images", "network", "size", "volume", "wait_until_answers"),
]
