"""compose.yaml: every profile is valid, every setting is passed on, and a model that is registered gets its run.

compose.yaml itself builds the project's images, on substitutes for the base images that only a registry has. moto's
server takes the place of RustFS, Debian's PostgreSQL that of PostgreSQL's image; compose.github.yaml adds a GitHub.
MinIO is not started.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dotenv import dotenv_values

from bridge.settings import Settings, find_weaknesses, load
from tests.e2e.containers import ROOT, Images, also_called
from tests.loopback.servers import free_port
from tests.loopback.stage import base_image
from tests.waiting import until

PROFILES = {
    "": set(),
    "rustfs": {"rustfs"},
    "minio": {"minio"},
    "sqlite": {"bridge", "webhook"},
    "postgresql": {"bridge-postgresql", "postgres", "webhook"},
    "example": {"example"},
}
"""The services of each profile, in addition to the tracking server and its bucket."""
DECIDED = {
    "HOST": None,
    "PORT": None,
    "MLFLOW_TRACKING_URI": "http://tracking:5000/sentinel",
    "MLFLOW_HOST": None,
    "MLFLOW_PORT": None,
    "MLFLOW_SERVER_ALLOWED_HOSTS": "tracking:5000,localhost:*,127.0.0.1:*,sentinel",
}
"""The settings that the stack itself decides."""
SECRETS = {
    name: secrets.token_hex(24)
    for name in ("ADMIN_PASSWORD", "AWS_SECRET_ACCESS_KEY", "MLFLOW_WEBHOOK_SECRET", "POSTGRES_PASSWORD")
}
"""The secrets that the page's commands create."""
GITHUB = {
    "GITHUB_REPOSITORY": "demo/models",
    "GITHUB_TOKEN": "ghp_the-loopback-github-knows-this",
    "GITHUB_API_URL": "http://github:9000",
    "GITHUB_POLL_INTERVAL": "2",
}
GITHUB_FILE = ROOT / "tests/e2e/compose.github.yaml"
PAGE = (ROOT / "docs/stack.md").read_text()
_NONE: Mapping[str, str] = MappingProxyType({})


class Stack:
    """compose.yaml, and `files` after it, as the project `name`, with this environment."""

    def __init__(self, name: str, environment: Mapping[str, str] = _NONE, files: tuple[Path, ...] = ()) -> None:
        self.ports = {"TRACKING_PORT": str(free_port()), "BRIDGE_PORT": str(free_port())}
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_HOST") if key in os.environ}
        self._env = {**kept, **self.ports, **environment}
        self._name = name
        self._files = files

    def call(
        self, *arguments: str, settings: Mapping[str, str] = _NONE, files: tuple[Path, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` with these settings and files in addition; the last file's folder is the project's."""
        chosen = [part for file in (ROOT / "compose.yaml", *self._files, *files) for part in ("--file", str(file))]
        folder = str(files[-1].parent if files else ROOT)
        named = ["--project-name", self._name, "--project-directory", folder, "--env-file", os.devnull]
        return subprocess.run(
            ["docker", "compose", *named, *chosen, *arguments],
            env={**self._env, **settings},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def run(self, *arguments: str, settings: Mapping[str, str] = _NONE, files: tuple[Path, ...] = ()) -> str:
        """Do the same and return its output; fails where the command does."""
        done = self.call(*arguments, settings=settings, files=files)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def services(self, settings: Mapping[str, str] = _NONE) -> Any:
        """Return all services as Compose reads them; fails on any warning."""
        done = self.call("--profile", "*", "config", "--format", "json", settings=settings)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)["services"]

    def get(self, path: str) -> httpx2.Response:
        """Get a page of the bridge."""
        url = f"http://127.0.0.1:{self.ports['BRIDGE_PORT']}{path}"
        return httpx2.get(
            url, auth=("admin", SECRETS["ADMIN_PASSWORD"]), trust_env=False, timeout=10
        ).raise_for_status()

    def running(self) -> set[str]:
        return set(self.run("--profile", "*", "ps", "--services", "--status", "running").split())


@pytest.fixture(scope="module")
def compose() -> Stack:
    """compose.yaml to read, not to start: Docker's client is enough."""
    if not shutil.which("docker"):
        pytest.skip("docker is not installed")
    return Stack("valid")


@pytest.fixture(scope="module")
def stack(images: Images) -> Iterator[Stack]:
    """The running stack of the profiles sqlite and rustfs, with the images that compose.yaml builds."""
    base = images.mlflow
    built = {f"{name.upper()}_IMAGE": images.name(f"compose-{name}") for name in ("tracking", "bridge")}
    substitutes = {"RUSTFS_IMAGE": images.s3, "POSTGRES_IMAGE": images.postgres}
    tag = base.replace("/", "-")
    environment = {**built, **substitutes, **SECRETS, **GITHUB, "MLFLOW_IMAGE": tag, "CHECKOUT": str(ROOT)}
    stack = Stack(base.partition("/")[0], environment, (GITHUB_FILE,))
    profiles = ("--profile", "sqlite", "--profile", "rustfs")
    with ExitStack() as names:  # `run` builds again, too
        names.enter_context(also_called(base, f"ghcr.io/mlflow/mlflow:{tag}"))
        names.enter_context(also_called(base_image(), "python:3.11-slim"))
        stack.run(*profiles, "build")
        try:
            stack.run(*profiles, "up", "--detach", "--no-build")
            yield stack
        finally:
            stack.run("--profile", "*", "down", "--volumes", "--timeout", "5")


def wait(stack: Stack, condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; a bridge that doesn't answer yet is waited for, too."""

    def holds() -> bool:
        with suppress(httpx2.HTTPError):
            return condition()
        return False

    def state() -> str:
        return "".join(stack.run("--profile", "*", *each) for each in (["ps", "--all"], ["logs", "--tail", "30"]))

    until(holds, show=state)


def register_and_follow(stack: Stack, version: int) -> None:
    """Register a version and wait until the bridge follows its run."""
    wait(stack, lambda: bool(stack.get("/ready").json() == {"degraded": []}))
    output = stack.run("run", "--rm", "--no-deps", "example")
    assert f"registered Doubles (example) version {version}, alias champion" in output

    def followed() -> bool:
        rows = json.dumps(stack.get("/api/versions").json())
        return "/demo/models/actions/runs/" in rows and f'"{version}"' in rows

    wait(stack, followed)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_and_starts_what_it_should(compose: Stack, profile: str) -> None:
    chosen = ["--profile", profile] if profile else []
    done = compose.call(*chosen, "config", "--services")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == {"tracking", "bucket"} | PROFILES[profile]


def test_no_port_is_open_to_other_machines_and_every_service_has_a_profile_tested(compose: Stack) -> None:
    services = compose.services()
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert {port.get("host_ip") for port in ports} == {"127.0.0.1"}
    assert set(services) == {"tracking", "bucket"}.union(*PROFILES.values())


def test_every_service_is_hardened_and_has_its_limits(compose: Stack) -> None:
    for service in compose.services().values():
        assert service.get("read_only") is True
        assert service.get("cap_drop") == ["ALL"]
        assert not service.keys() & {"cap_add", "privileged", "devices", "network_mode", "pid", "ipc"}
        assert service.get("security_opt") == ["no-new-privileges:true"]
        assert 256 * 1024**2 <= int(service["mem_limit"]) <= 2 * 1024**3
        assert 0 < service["pids_limit"] <= 512


def test_what_is_built_here_is_never_pulled_and_what_is_pulled_has_a_version(compose: Stack) -> None:
    pulled = set()
    for name, service in compose.services().items():
        if "build" in service:
            assert service["image"].startswith("localhost/")
            assert service["pull_policy"] == "build"
        else:
            pulled.add(name)
            tag = service["image"].rpartition(":")[2]
            assert re.fullmatch(r"[0-9]+(\.[0-9]+)+|RELEASE\.[0-9TZ-]+", tag), service["image"]
    assert pulled == {"rustfs", "minio", "postgres"}


def test_the_commands_of_the_page_give_every_secret_a_value_that_nobody_else_can_read(
    compose: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path)
    subprocess.run(["sh", "-e", "-c", PAGE.partition("```sh\n")[2].partition("```")[0]], cwd=tmp_path, check=True)
    file = tmp_path / ".env"
    written = {name: value or "" for name, value in dotenv_values(file).items()}
    assert file.stat().st_mode & 0o777 == 0o600
    assert len({written[name] for name in SECRETS}) == len(SECRETS)
    environment = compose.services(written | GITHUB)["bridge"]["environment"]
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value or "")
    assert {weakness.setting for weakness in find_weaknesses(load())} == set()


def test_no_secret_has_a_value_of_its_own(compose: Stack) -> None:
    named = re.compile(r"_(SECRET|PASSWORD|TOKEN|SECRET_KEY|PRIVATE_KEY)(_|$)|_SECRET_ACCESS_KEY$")
    with_value = {
        (name, variable)
        for name, service in compose.services().items()
        for variable, value in service.get("environment", {}).items()
        if named.search(variable) and value
    }
    assert with_value == set()


@pytest.mark.parametrize("service", ["bridge", "bridge-postgresql"])
def test_every_setting_of_the_bridge_reaches_it_and_none_that_is_not_given(compose: Stack, service: str) -> None:
    names = {field.upper() for field in Settings.model_fields}
    settings = dict.fromkeys(names | {"MLFLOW_STATIC_PREFIX"}, "/sentinel")
    assert len(names) > 20
    environment = compose.services(settings)[service]["environment"]
    assert {name: environment.get(name) for name in names} == {
        name: DECIDED.get(name, "/sentinel") for name in names
    }  # fmt: skip
    kept = {name for name, value in compose.services()[service]["environment"].items() if value is not None}
    assert kept - {"DATABASE_URL"} == {"MLFLOW_TRACKING_URI", "ALLOW_PLAIN_HTTP"}


def test_every_variable_of_the_tracking_server_reaches_it(compose: Stack) -> None:
    table = PAGE.partition("| variable |")[2].partition("\n\n")[0]
    names = set(re.findall(r"`([A-Z0-9]+_[A-Z0-9_]+)`", "\n".join(row.split("|")[1] for row in table.splitlines()[2:])))
    assert len(names) > 15
    environment = compose.services(dict.fromkeys(names, "sentinel"))["tracking"]["environment"]
    assert {name: environment.get(name) for name in names} == {name: DECIDED.get(name, "sentinel") for name in names}


def test_every_build_argument_of_the_tracking_servers_image_may_be_given(compose: Stack) -> None:
    arguments = dict.fromkeys(("MLFLOW_IMAGE", "MLFLOW_USER", "MLFLOW_UID", "MLFLOW_GID"), "sentinel")
    assert compose.services(arguments)["tracking"]["build"]["args"] == arguments
    assert "args" not in compose.services()["tracking"]["build"]  # else they would be set, to nothing


def test_a_model_gets_its_run_with_the_ledger_in_a_volume(stack: Stack) -> None:
    register_and_follow(stack, 1)
    assert "created: mlflow-bridge" in stack.run("logs", "--no-log-prefix", "webhook")
    assert stack.running() == {"tracking", "bridge", "github", "rustfs"}


def test_without_a_secret_for_the_webhook_no_bridge_starts_and_it_is_named(stack: Stack) -> None:
    stack.run("rm", "--stop", "--force", "bridge")
    settings = {"MLFLOW_WEBHOOK_SECRET": ""}
    up = stack.call("--profile", "sqlite", "up", "--detach", "--no-build", "bridge", settings=settings)
    assert up.returncode != 0
    assert "webhook" in up.stderr
    assert "MLFLOW_WEBHOOK_SECRET" in stack.run("logs", "--no-log-prefix", "webhook")
    assert "bridge" not in stack.running()


def test_a_model_gets_its_run_with_the_ledger_in_postgresql(stack: Stack) -> None:
    stack.run("rm", "--stop", "--force", "bridge")  # its port and its name in the network are the other's now
    stack.run("--profile", "postgresql", "up", "--detach", "--no-build", "bridge-postgresql")
    register_and_follow(stack, 2)
    assert "updated: mlflow-bridge" in stack.run("logs", "--no-log-prefix", "webhook")
    ask = ("psql", "--username", "bridge", "--host", "postgres", "--tuples-only", "--command")
    count = "select count(*) from deliveries"
    assert int(stack.run("exec", "--env", f"PGPASSWORD={SECRETS['POSTGRES_PASSWORD']}", "postgres", *ask, count)) > 0
    assert stack.running() == {"tracking", "bridge-postgresql", "postgres", "github", "rustfs"}
    stack.run("rm", "--stop", "--force", "--volumes", "bridge-postgresql")


def test_routes_and_an_apps_key_are_given_in_files_as_the_page_says(stack: Stack, tmp_path: Path) -> None:
    override = tmp_path / "compose.override.yaml"
    override.write_text(PAGE.partition("```yaml\n")[2].partition("```")[0])
    (tmp_path / "routes.toml").write_text('[[route]]\nname = "all"\nrepository = "demo/models"\n')
    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "app.pem").write_bytes(key)
    (tmp_path / "app.pem").chmod(0o644)
    settings = {"GITHUB_REPOSITORY": "", "GITHUB_TOKEN": "", "GITHUB_APP_ID": "Iv23sentinel"}
    tracking = json.loads(stack.run("config", "--format", "json", files=(override,)))["services"]["tracking"]
    assert tracking["environment"]["MLFLOW_LOGGING_LEVEL"] == "WARNING"
    up = ("--profile", "sqlite", "up", "--detach", "--no-build", "--no-deps", "bridge")
    stack.run(*up, files=(override,), settings=settings)
    wait(stack, lambda: stack.get("/ready").is_success)
    assert yaml.safe_load(override.read_text())["services"]["bridge"]["volumes"]
