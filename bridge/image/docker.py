"""Docker and MLflow's builder, run as programs with only the environment that they need."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from bridge.core import limits
from bridge.image import sandbox
from bridge.image.actions import untrusted_output
from bridge.image.errors import BuildFailed, RegistryError, SmokeTestFailed, UnsupportedModel
from bridge.image.registry.diagnosis import diagnose_push

RUN = "MLFLOW_BRIDGE_RUN"
"""The environment variable by which `clean-up` recognises the programs that this job's steps have started."""
CONTAINER_LABEL, IMAGE_LABEL = "mlflow-bridge.run", "bridge.run"
"""The labels by which it recognises containers and images: two, because a container inherits its image's labels."""
_ENVIRONMENT = (
    RUN, "PATH", "HOME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR",
    "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS",
)  # fmt: skip
"""Variables that a build may need. An allowlist, so that a secret that nobody thought of isn't passed on."""

PACKAGES_UNTIL = "2026-11-20T00:00:00Z"
"""Packages published later are not installed on the runner, so MLflow's dependencies don't change between builds.

Each release of the bridge sets it to about a week before its own date, because a bad release of a package is usually
withdrawn within days. From an index without upload times (PEP 700), nothing is installed.
"""
_PACKAGES = ("--no-config", "--no-build", "--exclude-newer", PACKAGES_UNTIL)
"""Only wheels, because building from source runs the package's code; any uv.toml on the runner is ignored."""

LOCAL = ("--env-manager", "local")
_END_SECONDS = 2.0
"""Seconds after which a container whose server just died is expected to have ended, too."""


def check_mlflow(mlflow_version: str, python_version: str) -> None:
    """Resolve with uv the packages that `build_with_mlflow` would install, without installing or running anything.

    Raises `UnsupportedModel` if it can't be installed, `BuildFailed` if there is no uv.
    """
    command = ["uv", "pip", "compile", "--quiet", *_PACKAGES, "--python-version", _series(python_version), "-"]
    requirement = f"mlflow=={mlflow_version}"
    try:
        result = subprocess.run(
            command, input=requirement, env=environment(), capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise _missing("uv") from error
    if result.returncode:
        raise UnsupportedModel(
            f"{requirement} can't be installed for Python {python_version} from wheels that were published before "
            f"{PACKAGES_UNTIL[:10]} ({_tail(result.stderr)})",
            "install a newer release of the bridge, or set the input builder to layered",
        )


def _series(python_version: str) -> str:
    return ".".join(python_version.split(".")[:2])


def build_with_mlflow(
    model: Path, image: str, *, mlflow_version: str, python_version: str, options: Sequence[str] = LOCAL
) -> None:
    """Build `image` from the model folder with `mlflow models build-docker` of just that MLflow release.

    Its packages run on the runner: only wheels that were published before `PACKAGES_UNTIL`, in an isolated environment.
    Raises `BuildFailed`.
    """
    uvx = ["uvx", "--quiet", "--isolated", *_PACKAGES, "--python", _series(python_version)]
    mlflow = [*uvx, "--from", f"mlflow=={mlflow_version}", "mlflow"]
    _build([*mlflow, "models", "build-docker", "-m", str(model), "-n", image, *options], image)


def add_labels(image: str, labels: Mapping[str, str], *, tag: str) -> None:
    """Add labels to `image`, without a new layer, and rename it to `tag`. Raises `BuildFailed`."""
    _build(
        ["docker", "build", "--quiet", "--platform", "linux/amd64", *label_options(labels), "--tag", tag, "-"],
        image,
        stdin=f"FROM {image}\n",
    )
    quiet(["docker", "image", "rm", "--no-prune", image])


def label_options(labels: Mapping[str, str]) -> list[str]:
    """Return `docker`'s options for these labels."""
    return [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]


def run_label(name: str) -> dict[str, str]:
    """Return this job's label with that name: `CONTAINER_LABEL` or `IMAGE_LABEL`."""
    return {name: os.environ.get(RUN, "")}


def kill_programs_of(run: str) -> None:
    """Kill all programs that earlier steps of the job `run` have started (Linux only)."""
    mark = f"{RUN}={run}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            if mark in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def remove_all_of(run: str) -> None:
    """Kill all programs of the job `run`, and remove all of its containers and images (Linux only)."""
    kill_programs_of(run)
    listed = ["--quiet", "--no-trunc", "--filter"]
    for container in quiet(["docker", "ps", "--all", *listed, f"label={CONTAINER_LABEL}={run}"]).stdout.split():
        Container(container).remove()
    for image in quiet(["docker", "image", "ls", *listed, f"label={IMAGE_LABEL}={run}"]).stdout.split():
        quiet(["docker", "image", "rm", "--force", image])


def tag(image: str, name: str) -> None:
    """Name an image, even if another image has that name now. Raises `BuildFailed`."""
    result = quiet(["docker", "image", "tag", image, name])
    if result.returncode:
        raise BuildFailed(f"{image} is no longer in Docker's image store", "re-run the job")


def remove(image: str) -> None:
    """Remove a name, and the image if it has no other name. A missing image is no error."""
    quiet(["docker", "image", "rm", image])


def image_id(image: str) -> str:
    """Return Docker's id of a local image, `sha256:…`. Raises `BuildFailed` if there is none."""
    return _inspect(image, "{{.Id}}")


def image_size(image: str) -> int:
    """Return the bytes of a local image, unpacked. Raises `BuildFailed` if there is none."""
    return int(_inspect(image, "{{.Size}}"))


def _inspect(image: str, form: str) -> str:
    result = quiet(["docker", "image", "inspect", "--format", form, image])
    if result.returncode:
        raise BuildFailed(f"{image} is not in Docker's image store", "run the build step first")
    return result.stdout.strip()


def push(tag: str) -> str:
    """Push `tag` and return the manifest's digest. Raises `RegistryError`."""
    lines: list[str] = []
    with untrusted_output():
        command = ["docker", "push", tag]
        with subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line.strip())
    if process.returncode:
        output = _tail(" ".join(lines))
        diagnosis = diagnose_push(output, tag.split("/")[0])
        raise RegistryError(f"{tag}: {diagnosis.message} ({output})", diagnosis.hint)
    for line in reversed(lines):  # `<tag>: digest: sha256:… size: …` is the last line of docker push
        if "digest: sha256:" in line:
            return line.split("digest: ")[1].split()[0]
    raise RegistryError(f"{tag}: `docker push` printed no digest", "update Docker on the runner")


@dataclass(frozen=True)
class ContainerState:
    """Whether a container is running, and otherwise how it ended (`docker inspect`, `.State`)."""

    running: bool
    exit_code: int = 0
    out_of_memory: bool = False
    """The kernel killed a process of the container at its memory limit; the container itself may still be running."""
    memory_limit: int = 0
    """Bytes."""

    def describe(self) -> str:
        """Return this state in words, such as `the container was killed by SIGKILL (exit code 137)`."""
        if self.out_of_memory:
            limit = f" of {self.memory_limit / 1e9:.1f} GB" if self.memory_limit else ""
            end = "" if self.running else f" (exit code {self.exit_code})"
            return f"the container ran out of memory at its limit{limit}{end}"
        if self.running:
            return "the container is still running"
        try:
            # Docker's init reports a program that was killed by a signal as 128 plus the signal's number.
            name = signal.Signals(self.exit_code - 128).name
        except ValueError:
            return f"the container stopped with exit code {self.exit_code}"
        # If the machine itself has no memory left, the kernel kills the model first (`--oom-score-adj` in `sandbox`).
        reason = ", probably because the machine ran out of memory" if name == "SIGKILL" else ""
        return f"the container was killed by {name} (exit code {self.exit_code}){reason}"

    @property
    def needs_memory(self) -> bool:
        """Whether more memory may be the fix."""
        return self.out_of_memory or self.exit_code == 128 + signal.SIGKILL


@dataclass(frozen=True)
class Container:
    """A container without secrets and mounts."""

    id: str

    @classmethod
    def start(cls, image: str, *, network: bool, root: bool = False) -> "Container":
        """Start the image's command with one worker, within the limits of `sandbox`. Raises `SmokeTestFailed`."""
        machine = quiet(["docker", "info", "--format", "{{.MemTotal}} {{.NCPU}}"])
        if machine.returncode:
            raise SmokeTestFailed(f"Docker doesn't respond ({_tail(machine.stderr)})", "start Docker on the runner")
        memory, cpus = map(int, machine.stdout.split())
        command = ["docker", "run", "--detach", *label_options(run_label(CONTAINER_LABEL))]
        command += sandbox.options(memory, cpus, root=root)
        command += [] if network else ["--network", "none"]
        result = quiet([*command, "--env", "MLFLOW_MODELS_WORKERS=1", image])
        container = cls(result.stdout.strip())
        if result.returncode:
            if container.id:  # a container that was created and not started would keep its image from being removed
                container.remove()
            raise SmokeTestFailed(f"{image}: the container can't start ({_tail(result.stderr)})", "re-run the job")
        return container

    def python(self, script: str, *arguments: str, stdin: bytes = b"", timeout: float) -> tuple[int, str]:
        """Run a script with the container's own Python.

        Return its exit status and output, at most 64 KiB; status 124 if it took longer than `timeout` seconds.
        """
        command = ["docker", "exec", "--interactive", self.id, "python", "-c", script, *arguments]
        with TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            with subprocess.Popen(
                command, env=environment(), stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as process:
                return _read_output(process, timeout)

    def state(self) -> ContainerState | None:
        """Return the container's state; None if Docker doesn't report one.

        The server's end may be noticed a moment before its container's: wait up to two seconds for that.
        """
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["docker", "wait", self.id], env=environment(), capture_output=True, timeout=_END_SECONDS, check=False
            )
        form = '{"state": {{json .State}}, "memory": {{.HostConfig.Memory}}}'
        result = quiet(["docker", "container", "inspect", "--format", form, self.id])
        if result.returncode:
            return None
        report = json.loads(result.stdout)
        state = report["state"]
        return ContainerState(state["Running"], state["ExitCode"], state["OOMKilled"], report["memory"])

    def show_log(self) -> None:
        """Print the last 200 lines of the container's output."""
        with untrusted_output():
            subprocess.run(
                ["docker", "logs", "--tail", "200", self.id], env=environment(), stderr=subprocess.STDOUT, check=False
            )

    def remove(self) -> None:
        """Stop and remove the container."""
        quiet(["docker", "rm", "--force", "--volumes", self.id])


def _read_output(process: subprocess.Popen[bytes], timeout: float) -> tuple[int, str]:
    """Read at most 64 KiB from a process that isn't trusted, for at most `timeout` seconds."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        output = process.stdout.read(limits.MAX_CONTAINER_OUTPUT) if process.stdout else b""
        if len(output) == limits.MAX_CONTAINER_OUTPUT:
            process.kill()
        status = process.wait()
    finally:
        timer.cancel()
    return (124, f"no response within {timeout:.0f} s") if late.is_set() else (status, output.decode(errors="replace"))


def environment() -> dict[str, str]:
    """Return the environment of every program that handles a model's code."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def _build(command: Sequence[str], image: str, stdin: str = "") -> None:
    try:
        with untrusted_output():
            result = subprocess.run(
                command, input=stdin, env=environment(), stderr=subprocess.STDOUT, text=True, check=False
            )
    except FileNotFoundError as error:
        raise _missing(command[0]) from error
    if result.returncode:
        raise BuildFailed(f"{image}: {command[0]} exited with status {result.returncode}", "see the log above")


def _missing(program: str) -> BuildFailed:
    return BuildFailed(f"{program} is not installed on this runner", f"install {program}")


def _tail(output: str) -> str:
    return " ".join(output.split())[-300:]


def quiet(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program that shows no output of a model, and return its result whatever its exit status."""
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
