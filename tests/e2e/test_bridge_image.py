"""The bridge's image as operators run it: built, started by its environment alone, stopped."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.containers import ROOT, Container, Images, container, docker, size, volume
from tests.integration.conftest import SECRET
from tests.integration.deliveries import VALID, post, signed
from tests.loopback.servers import free_port
from tests.loopback.stage import base_image
from tests.postgres import Postgres

ENV = f"MLFLOW_WEBHOOK_SECRET={SECRET}\nGITHUB_REPOSITORY=owner/models\nGITHUB_TOKEN=ghp_none\n"
NOWHERE = "GITHUB_API_URL=http://127.0.0.1:9\n"
"""No test of the image may reach GitHub."""
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@pytest.fixture
def env_file(tmp_path: Path) -> str:
    (tmp_path / ".env").write_text(ENV + NOWHERE)
    return str(tmp_path / ".env")


@pytest.fixture
def bridge(images: Images, env_file: str) -> Iterator[Container]:
    with container(images.bridge, "--env-file", env_file, "--publish", "127.0.0.1::8000") as running:
        running.wait_until_healthy()
        yield running


def test_an_env_file_and_a_published_port_are_all_it_takes(bridge: Container) -> None:
    url = bridge.url(8000)
    assert httpx2.get(f"{url}/ready", trust_env=False).status_code == 200
    assert post(url, VALID[0]).status_code == 202


def test_it_runs_as_1000_and_stops_in_time_with_status_0(bridge: Container) -> None:
    assert bridge.run("id", "-u").strip() == bridge.run("id", "-g").strip() == "1000"
    assert bridge.stop() == 0


@pytest.mark.parametrize("user", ["1000:1000", "4711:4712"])
def test_a_read_only_root_and_any_user_do(images: Images, env_file: str, user: str) -> None:
    with container(
        images.bridge, *HARDENED, "--user", user, "--env-file", env_file, "--publish", "127.0.0.1::8000"
    ) as bridge:
        bridge.wait_until_healthy()
        assert bridge.run("id", "-u").strip() == user.partition(":")[0]
        assert post(bridge.url(8000), VALID[0]).status_code == 202


def test_the_ledger_outlives_the_container(images: Images, env_file: str) -> None:
    headers, said = signed(VALID[0]), []
    with volume() as data:
        for _ in range(2):
            with container(
                images.bridge, "--volume", f"{data}:/data", "--env-file", env_file, "--publish", "127.0.0.1::8000"
            ) as bridge:
                bridge.wait_until_healthy()
                url = f"{bridge.url(8000)}/webhook"
                said.append(httpx2.post(url, content=VALID[0], headers=headers, trust_env=False).json()["status"])
    assert said == ["submitted", "duplicate"]


def test_the_ledger_may_be_in_postgresql_and_the_port_another_one(
    images: Images, env_file: str, postgres: Postgres
) -> None:
    port, database = free_port(), postgres.database()
    settings = ("--env", f"DATABASE_URL={database}", "--env", "HOST=127.0.0.1", "--env", f"PORT={port}")
    with container(images.bridge, "--network", "host", "--env-file", env_file, *settings) as bridge:
        bridge.wait_until_healthy()
        assert post(f"http://127.0.0.1:{port}", VALID[0]).status_code == 202
        assert bridge.run("ls", "/data") == ""


def test_docker_itself_finds_it_healthy_and_a_process_that_does_not_serve_is_not(images: Images, env_file: str) -> None:
    with container(images.bridge, "--health-interval", "1s", "--env-file", env_file) as bridge:
        bridge.wait_until_healthy()
        subprocess.run(["timeout", "600", "sh", "-c", _UNTIL_HEALTHY, "sh", bridge.name], check=True)
    health = json.loads(
        docker("image", "inspect", "--format", "{{json .Config.Healthcheck.Test}}", images.bridge).stdout
    )
    with container(images.bridge, "--entrypoint", "sleep", command=["60"]) as idle:
        assert "Connection refused" in idle.run(*health[1:], status=1)


_UNTIL_HEALTHY = (
    "until docker inspect --format '{{.State.Health.Status}}' \"$1\" | grep --quiet '^healthy$'; do sleep 0.2; done"
)


def test_everything_that_is_missing_is_named_at_once_and_it_ends_with_2(images: Images) -> None:
    done = docker("run", "--rm", images.bridge, status=2)
    for name in ("MLFLOW_WEBHOOK_SECRET", "GITHUB_REPOSITORY", "GITHUB_TOKEN"):
        assert f"{name} is not set" in done.stderr


def test_it_has_what_is_locked_and_nothing_besides_under_150_mb(images: Images) -> None:
    listed = (
        "from importlib.metadata import distributions as d; print(*(f'{i.name}=={i.version}'.lower() for i in d()))"
    )
    inside = docker("run", "--rm", "--entrypoint", "python", images.bridge, "-P", "-c", listed).stdout.split()
    text = (ROOT / "requirements/runtime.txt").read_text().lower()
    locked = {
        line.split()[0] for line in text.splitlines() if "==" in line and not line.lstrip().startswith(("#", "-"))
    }
    assert {each.replace("_", "-") for each in inside} <= locked
    assert len(inside) > 20
    assert size(images.bridge) - size(base_image()) < 150e6


def test_no_file_in_it_but_its_data_may_be_changed_by_its_user(images: Images) -> None:
    find = ["find", "/opt", "/srv", "/usr", "-writable", "-not", "-type", "l"]
    assert docker("run", "--rm", "--entrypoint", find[0], images.bridge, *find[1:]).stdout == ""
