"""The container engine and MLflow's builder, called as programs with just the environment they need."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from bridge.image import sandbox
from bridge.image.actions import untrusted_output
from bridge.image.errors import BuildFailed, RegistryError, SmokeTestFailed, UnsupportedModel
from bridge.image.registry.diagnosis import Diagnosis, diagnose

RUN = "MLFLOW_BRIDGE_RUN"
"""The variable by which `clean-up` recognises the programs that this job's steps have started."""
CONTAINER_LABEL, IMAGE_LABEL = "mlflow-bridge.run", "bridge.run"
"""The labels by which it recognises containers and images: two, because a container has its image's labels too."""
_ENVIRONMENT = (
    RUN, "PATH", "HOME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR",
    "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS",
)  # fmt: skip
"""What a build needs. A list of what to pass on, not of what to hold back: a secret nobody thought of stays here."""


PACKAGES_UNTIL = "2026-11-20T00:00:00Z"
"""Packages published later are not installed on the runner, so MLflow's dependencies don't change between builds.

Each release of the bridge sets it to about a week before its own date, because a bad release of a package is usually
withdrawn within days. From an index that doesn't give upload times (PEP 700), nothing is installed.
"""
_PACKAGES = ("--no-config", "--no-build", "--exclude-newer", PACKAGES_UNTIL)
"""Only wheels, because building from source runs the package's code; any uv.toml on the runner is ignored."""

LOCAL = ("--env-manager", "local")
_OUTPUT = 1 << 16
"""Bytes that are read of what a program in a container prints."""


def check_mlflow(mlflow_version: str, python_version: str) -> None:
    """Have uv resolve what `build_with_mlflow` would install; nothing is installed or run.

    Raises `UnsupportedModel` if it can't be installed, `BuildFailed` if there is no uv.
    """
    command = ["uv", "pip", "compile", "--quiet", *_PACKAGES, "--python-version", _series(python_version), "-"]
    asked = f"mlflow=={mlflow_version}"
    try:
        done = subprocess.run(command, input=asked, env=environment(), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise _missing("uv") from error
    if done.returncode:
        raise UnsupportedModel(
            f"{asked} can't be installed for Python {python_version} from wheels that were published before "
            f"{PACKAGES_UNTIL[:10]} ({' '.join(done.stderr.split())[-300:]}): "
            "install a newer release of the bridge, or set the input builder to layered"
        )


def _series(python_version: str) -> str:
    return ".".join(python_version.split(".")[:2])


def build_with_mlflow(
    model: Path, image: str, *, mlflow_version: str, python_version: str, options: Sequence[str] = LOCAL
) -> None:
    """Build `image` from the model folder with `mlflow models build-docker` of just that MLflow release.

    Its packages run on the runner: only wheels that were published before `PACKAGES_UNTIL`, in an environment of their
    own. Raises `BuildFailed`. Its output goes to the log, where it can't command the runner.
    """
    uvx = ["uvx", "--quiet", "--isolated", *_PACKAGES, "--python", _series(python_version)]
    builder = [*uvx, "--from", f"mlflow=={mlflow_version}", "mlflow"]
    _loud([*builder, "models", "build-docker", "-m", str(model), "-n", image, *options], image)


def add_labels(image: str, labels: Mapping[str, str], *, tag: str) -> None:
    """Give `image` labels and the name `tag` in place of its own. Adds no layer. Raises `BuildFailed`."""
    _loud(
        ["docker", "build", "--quiet", "--platform", "linux/amd64", *label_options(labels), "--tag", tag, "-"],
        image,
        given=f"FROM {image}\n",
    )
    quiet(["docker", "image", "rm", "--no-prune", image])


def label_options(labels: Mapping[str, str]) -> list[str]:
    """Give docker's options for labels."""
    return [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]


def run_label(name: str) -> dict[str, str]:
    """Give this job's label of that name: `CONTAINER_LABEL` or `IMAGE_LABEL`."""
    return {name: os.environ.get(RUN, "")}


def remove_all_of(run: str) -> None:
    """Kill the programs of the job `run`, and remove its containers and images, whichever step left them (Linux)."""
    mark = f"{RUN}={run}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            if mark in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
    listed = ["--quiet", "--no-trunc", "--filter"]
    for container in quiet(["docker", "ps", "--all", *listed, f"label={CONTAINER_LABEL}={run}"]).stdout.split():
        Container(container).remove()
    for image in quiet(["docker", "image", "ls", *listed, f"label={IMAGE_LABEL}={run}"]).stdout.split():
        quiet(["docker", "image", "rm", "--force", image])


def tag(image: str, name: str) -> None:
    """Give an image that name, whatever held it before. Raises `BuildFailed`."""
    done = quiet(["docker", "image", "tag", image, name])
    if done.returncode:
        raise BuildFailed(f"{image}: the engine has no such image any more: run the job again")


def remove(image: str) -> None:
    """Take a name, and the image where that was its last one, out of the engine, if it is there."""
    quiet(["docker", "image", "rm", image])


def image_id(image: str) -> str:
    """Give the engine's id of a local image, `sha256:…`. Raises `BuildFailed` where there is none."""
    return _inspect(image, "{{.Id}}")


def image_size(image: str) -> int:
    """Give the bytes of a local image, unpacked. Raises `BuildFailed` where there is none."""
    return int(_inspect(image, "{{.Size}}"))


def _inspect(image: str, form: str) -> str:
    done = quiet(["docker", "image", "inspect", "--format", form, image])
    if done.returncode:
        raise BuildFailed(f"{image}: the engine has no such image: the build step must come before")
    return done.stdout.strip()


def push(tag: str) -> str:
    """Push `tag` and give the manifest's digest. Raises `RegistryError`."""
    said: list[str] = []
    with untrusted_output():
        command = ["docker", "push", tag]
        with subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                said.append(line.strip())
    if process.returncode:
        last = " ".join(said)[-300:]
        unknown = Diagnosis("the push failed", "check that the sign-in may write there, then re-run the job")
        found = diagnose(last, tag.split("/")[0]) or unknown
        raise RegistryError(f"{tag}: {found.message} ({last})", found.hint)
    return _digest(tag, said)


def _digest(tag: str, said: Sequence[str]) -> str:
    """Read `<tag>: digest: sha256:… size: …`, the last line of docker push."""
    for line in reversed(said):
        if "digest: sha256:" in line:
            return line.split("digest: ")[1].split()[0]
    raise RegistryError(f"{tag}: docker push named no digest: update Docker on the runner")


@dataclass(frozen=True)
class Container:
    """A running container that is given no secret and no mount."""

    id: str

    @classmethod
    def start(cls, image: str, *, network: bool, root: bool = False) -> "Container":
        """Start the image's own command with one worker, within the limits of `sandbox`. Raises `SmokeTestFailed`."""
        machine = quiet(["docker", "info", "--format", "{{.MemTotal}} {{.NCPU}}"])
        if machine.returncode:
            raise SmokeTestFailed(
                f"the Docker engine doesn't respond ({machine.stderr.strip()[-300:]}): start Docker on the runner"
            )
        memory, cpus = map(int, machine.stdout.split())
        command = ["docker", "run", "--detach", *label_options(run_label(CONTAINER_LABEL))]
        command += sandbox.options(memory, cpus, root=root)
        command += [] if network else ["--network", "none"]
        done = quiet([*command, "--env", "MLFLOW_MODELS_WORKERS=1", image])
        container = cls(done.stdout.strip())
        if done.returncode:
            if container.id:  # it was made, and would keep its image from being removed
                container.remove()
            raise SmokeTestFailed(f"{image}: the container did not start ({done.stderr.strip()[-300:]}): see the log")
        return container

    def python(self, script: str, *arguments: str, given: bytes = b"", timeout: float) -> tuple[int, str]:
        """Run a script by the container's own Python, with `given` at its standard input.

        Gives the exit status and what it printed, at most 64 KiB; 124 where it took longer than `timeout` seconds.
        """
        command = ["docker", "exec", "--interactive", self.id, "python", "-c", script, *arguments]
        with TemporaryFile() as file:
            file.write(given)
            file.seek(0)
            with subprocess.Popen(
                command, env=environment(), stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as process:
                return _bounded(process, timeout)

    def show_log(self) -> None:
        """Print the container's last 200 lines."""
        with untrusted_output():
            subprocess.run(
                ["docker", "logs", "--tail", "200", self.id], env=environment(), stderr=subprocess.STDOUT, check=False
            )

    def remove(self) -> None:
        """Stop and remove the container."""
        quiet(["docker", "rm", "--force", "--volumes", self.id])


def _bounded(process: subprocess.Popen[bytes], timeout: float) -> tuple[int, str]:
    """Read no more than 64 KiB of what somebody else's process prints, and for no longer than `timeout` seconds."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        said = process.stdout.read(_OUTPUT) if process.stdout else b""
        if len(said) == _OUTPUT:
            process.kill()
        status = process.wait()
    finally:
        timer.cancel()
    return (124, f"no answer within {timeout:.0f} s") if late.is_set() else (status, said.decode(errors="replace"))


def environment() -> dict[str, str]:
    """Give the environment for every program we run that comes near a model's code."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def _loud(command: Sequence[str], image: str, given: str = "") -> None:
    try:
        with untrusted_output():
            done = subprocess.run(
                command, input=given, env=environment(), stderr=subprocess.STDOUT, text=True, check=False
            )
    except FileNotFoundError as error:
        raise _missing(command[0]) from error
    if done.returncode:
        raise BuildFailed(f"{image}: {command[0]} ended with status {done.returncode}: the build's log above says why")


def _missing(program: str) -> BuildFailed:
    return BuildFailed(f"{program} is not on this runner, so nothing can be built: install it there")


def quiet(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program that prints nothing of a model's, and give what it said, however it ended."""
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
