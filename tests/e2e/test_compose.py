"""compose.yaml: every profile is valid, and the demo's stack takes a model its way.

RustFS' image is stood in for by moto's server; the project's own images are built on stand-ins. What needs an image
that only a registry has (MinIO, PostgreSQL) is not started.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from bridge.demo.processes import free_port
from tests.e2e.containers import ROOT, Images, docker

PROFILES = {
    "": set(),
    "rustfs": {"rustfs"},
    "minio": {"minio"},
    "sqlite": {"bridge", "webhook"},
    "postgresql": {"bridge-postgresql", "postgres", "webhook"},
    "demo": {"rustfs", "bridge-demo", "github", "webhook"},
    "example": {"example"},
}
"""What each profile starts besides the tracking server and its bucket."""
SECONDS = 120.0


class Stack:
    """compose.yaml under a project's name of its own, with these images."""

    def __init__(self, name: str, images: dict[str, str]) -> None:
        self.ports = {"TRACKING_PORT": str(free_port()), "BRIDGE_PORT": str(free_port())}
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_HOST") if key in os.environ}
        self._env = {**kept, **self.ports, **images}
        self._compose = ["docker", "compose", "--project-name", name, "--env-file", os.devnull]

    def run(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [*self._compose, *arguments], cwd=ROOT, env=self._env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def versions(self) -> Any:
        url = f"http://127.0.0.1:{self.ports['BRIDGE_PORT']}/api/versions"
        return httpx.get(url, auth=("admin", "demo"), trust_env=False, timeout=10).raise_for_status().json()


def until(found: Callable[[], Any], stack: Stack) -> Any:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if result := found():
                return result
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            pytest.fail(stack.run("ps", "--all") + stack.run("logs", "--tail", "30"))
        time.sleep(0.3)


@pytest.fixture
def demo(images: Images) -> Iterator[Stack]:
    own = {
        "TRACKING_IMAGE": images.tracking,
        "BRIDGE_IMAGE": images.bridge,
        "GITHUB_IMAGE": images.github,
        "RUSTFS_IMAGE": images.s3,
    }
    stack = Stack(images.tracking.partition("/")[0], own)
    try:
        stack.run("--profile", "demo", "up", "--detach", "--no-build")
        yield stack
    finally:
        stack.run("--profile", "*", "down", "--volumes", "--timeout", "5")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_and_starts_what_it_should(images: Images, profile: str) -> None:
    chosen = ["--profile", profile] if profile else []
    services = Stack("valid", {}).run(*chosen, "config", "--services").split()
    assert set(services) == {"tracking", "bucket"} | PROFILES[profile]


def test_no_port_is_open_to_other_machines_and_every_service_has_a_profile_tested() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert set(services) == {"tracking", "bucket"}.union(*PROFILES.values())


def test_a_model_goes_its_way_through_the_demo(demo: Stack) -> None:
    until(lambda: demo.versions() is not None, demo)
    until(lambda: "webhook bridge was made" in demo.run("logs", "--no-log-prefix", "webhook"), demo)
    said = demo.run("run", "--rm", "--no-deps", "example")
    assert "registered Doubles (example) version 1, alias champion" in said
    assert until(lambda: "/demo/models/actions/runs/" in json.dumps(demo.versions()), demo)
    running = demo.run("--profile", "demo", "ps", "--services", "--status", "running").split()
    assert set(running) == {"tracking", "bridge-demo", "github", "rustfs"}


def test_the_loopback_github_names_what_it_lacks(images: Images) -> None:
    said = docker("run", "--rm", images.github, status=2).stderr.splitlines()
    assert [line.split()[0] for line in said] == ["GITHUB_REPOSITORY", "GITHUB_TOKEN"]
