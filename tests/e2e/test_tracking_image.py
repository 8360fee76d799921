"""The tracking server's image as teams run it, with an S3 server (moto's), PostgreSQL, and the bridge as receiver."""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx2
import mlflow
import psycopg
import pytest

from tests.e2e.containers import ROOT, Container, Images, container, docker, network, volume, wait_until_answers
from tests.integration.conftest import SECRET
from tests.loopback.servers import free_port
from tests.loopback.stage import base_image
from tests.postgres import Postgres

pytestmark = pytest.mark.filterwarnings("default")  # MLflow warns of its own dependencies

KEYS = {"AWS_ACCESS_KEY_ID": "key-of-the-tests", "AWS_SECRET_ACCESS_KEY": "sentinel-secret-of-the-bucket"}
BUCKET = "artifacts"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
WEBHOOKS = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
PASSWORD = "sentinel-password-of-the-admin"
DATA = "/mlflow/tracking"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/slow"


@dataclass(frozen=True)
class Surroundings:
    """A network with an S3 server `s3` that has the bucket, and the bridge `bridge`."""

    network: str
    s3: Container

    def objects(self) -> dict[str, bytes]:
        """Return the contents of the bucket by name."""
        s3 = boto3.client(
            "s3",
            endpoint_url=self.s3.url(9000),
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}

    def options(self, **settings: str) -> list[str]:
        """Return the options of `docker run` for a tracking server in this network."""
        own = {"ARTIFACTS_BUCKET": BUCKET, "MLFLOW_S3_ENDPOINT_URL": "http://s3:9000", **KEYS, **settings}
        return ["--network", self.network, *env(own)]


@pytest.fixture(scope="module")
def around(images: Images) -> Iterator[Surroundings]:
    settings = env({"MLFLOW_WEBHOOK_SECRET": SECRET, "GITHUB_REPOSITORY": "owner/models", "GITHUB_TOKEN": "none"})
    with ExitStack() as stack:
        net = stack.enter_context(network())
        s3 = stack.enter_context(
            container(images.s3, "--network", net, "--network-alias", "s3", "--publish", "127.0.0.1::9000")
        )
        bridge = stack.enter_context(container(images.bridge, "--network", net, "--network-alias", "bridge", *settings))
        around = Surroundings(net, s3)
        for output in (f"bucket {BUCKET} created\n", f"bucket {BUCKET} exists\n"):
            assert docker("run", "--rm", *around.options(), images.tracking, "create-bucket").stdout == output
        bridge.wait_until_healthy()
        yield around


def env(settings: dict[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]


def refusal(image: str, *options: str) -> str:
    """Return the message of a server that does not start."""
    done = docker("run", "--rm", *options, image, status=2)
    assert done.stdout == ""
    return done.stderr


def write(client: Any, folder: Path, text: str) -> str:
    """Log an artifact with MLflow's own client, which knows nothing of the bucket; return the run's id."""
    (folder / "note.txt").write_text(text)
    run = client.create_run("0")
    client.log_artifact(run.info.run_id, str(folder / "note.txt"))
    return str(run.info.run_id)


@contextmanager
def upload_under_way(port: int, path: str, host: str, admin: tuple[str, str]) -> Iterator[None]:
    """Make a server wait for the rest of a file, as a slow client does."""
    sign_in = b64encode(":".join(admin).encode()).decode()
    head = f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {sign_in}\r\nContent-Length: 9\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(head.encode() + b"part")
        with pytest.raises(TimeoutError):
            connection.recv(1)  # an answer would be a refusal
        yield


def test_data_and_webhooks_outlive_the_container_and_artifacts_are_in_the_bucket(
    images: Images, around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # else a client that can't reach S3 tries for long
    with volume() as data:
        options = [*around.options(**WEBHOOKS), *HARDENED, "--volume", f"{data}:{DATA}", "--publish", "127.0.0.1::5000"]
        with container(images.tracking, *options) as server:
            server.wait_until_healthy()
            client: Any = mlflow.MlflowClient(tracking_uri=server.url(5000))
            run = write(client, tmp_path, "kept")
            webhook = client.create_webhook(
                name="bridge", url="http://bridge:8000/webhook", secret=SECRET, events=["model_version.created"]
            ).webhook_id
            assert client.test_webhook(webhook).response_status == 200
            offered = httpx2.get(f"{server.url(5000)}/api/3.0/mlflow/server-info", trust_env=False).json()
            assert offered["multipart_downloads_enabled"] is offered["multipart_uploads_enabled"] is False
            assert server.run("id", "-u").strip() == server.run("id", "-g").strip() == "1000"
            assert server.run("sh", "-c", "echo $HOME").strip() == "/home/mlflow"
            mode = server.run("stat", "--format", "%a %u", f"{DATA}/webhook.key").split()
            key = server.run("cat", f"{DATA}/webhook.key")
            status = server.stop()
            assert server.logs.count("Finished server process") == 2  # the signal reached both workers
        assert mode == ["600", "1000"]
        assert status == 0
        with container(images.tracking, *options) as server:
            server.wait_until_healthy()
            client = mlflow.MlflowClient(tracking_uri=server.url(5000))
            assert client.get_run(run).info.run_id == run
            answer = client.test_webhook(webhook)
            assert (answer.response_status, json.loads(answer.response_body)["status"]) == (200, "test")
            assert server.run("cat", f"{DATA}/webhook.key") == key
            downloaded = Path(client.download_artifacts(run, "note.txt", str(tmp_path)))
            log = server.logs
    assert downloaded.read_text() == "kept"
    (stored,) = [content for name, content in around.objects().items() if f"/{run}/" in name]
    assert stored == b"kept"
    assert not any(secret in log for secret in (*KEYS.values(), SECRET, key.strip()))


def test_every_other_setting_counts_under_any_user(
    images: Images, around: Surroundings, postgres: Postgres, tmp_path: Path
) -> None:
    port, database = free_port(), postgres.database().replace("+psycopg", "")
    fernet = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    settings = {
        "ARTIFACTS_BUCKET": BUCKET,
        "MLFLOW_S3_ENDPOINT_URL": around.s3.url(9000),
        **KEYS,
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "3",
        "MLFLOW_STATIC_PREFIX": "/models",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"mlflow.example.com:{port}",
        "MLFLOW_BASIC_AUTH": "true",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": fernet,
    }
    with container(images.tracking, "--network", "host", "--user", "4711:4712", *HARDENED, *env(settings)) as server:
        server.wait_until_healthy()
        assert server.run("id", "-u").strip() == "4711"
        url = f"http://127.0.0.1:{port}/models/api/2.0/mlflow/experiments/get?experiment_id=0"
        named, admin = {"Host": f"mlflow.example.com:{port}"}, ("admin", PASSWORD)
        with httpx2.Client(trust_env=False, timeout=30) as client:
            assert client.get(url, headers=named, auth=admin).status_code == 200
            assert client.get(url, headers=named).status_code == 401
            assert client.get(url, headers=named, auth=("admin", "another-password")).status_code == 401
            assert client.get(url, auth=admin).status_code == 403
            assert client.get(url.replace("/models", ""), headers=named, auth=admin).status_code == 404
        assert "webhook.key" not in server.run("ls", DATA)
        workers = server.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'spawn_main[(]' | wc -l")
        with upload_under_way(port, f"/models{ARTIFACT}", named["Host"], admin):
            status = server.stop()
    assert int(workers) == 3
    assert status == 0
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from experiments").fetchone() == (1,)


def test_everything_missing_is_reported_at_once(images: Images) -> None:
    with volume() as data:
        message = refusal(
            images.tracking,
            *("--volume", f"{data}:{DATA}:ro"),
            *env({"MLFLOW_S3_ENDPOINT_URL": "http://s3:9000", "MLFLOW_BASIC_AUTH": "true"}),
        )
    names = ("ARTIFACTS_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_AUTH_ADMIN_PASSWORD")
    assert [name for name in names if f"- {name} is not set" in message] == list(names)
    assert f"- {DATA} can't be used by user 1000:1000 (Read-only file system)" in message


def test_everything_invalid_is_reported_at_once_without_its_value(images: Images) -> None:
    invalid = {
        "ARTIFACTS_BUCKET": "s3://sentinel",
        "MLFLOW_S3_ENDPOINT_URL": "sentinel:9000",
        "MLFLOW_BACKEND_STORE_URI": "mysql://sentinel",
        "MLFLOW_PORT": "sentinel",
        "MLFLOW_WORKERS": "0",
        "MLFLOW_STATIC_PREFIX": "sentinel/",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "http://sentinel",
        "MLFLOW_BASIC_AUTH": "sentinel",
        "MLFLOW_S3_IGNORE_TLS": "sentinel",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "sentinel",
    }
    message = refusal(images.tracking, *env(invalid))
    assert [name for name in invalid if f"- {name} is invalid" in message] == list(invalid)
    assert "sentinel" not in message


def test_a_missing_bucket_is_reported_before_the_start(images: Images, around: Surroundings) -> None:
    message = refusal(images.tracking, *around.options(ARTIFACTS_BUCKET="absent"))
    assert "- bucket absent at http://s3:9000 returned 404" in message


def test_a_bucket_that_rejects_our_credentials_is_reported_before_the_start(
    images: Images, around: Surroundings
) -> None:
    options = ("--network", around.network, "--network-alias", "strict", "--publish", "127.0.0.1::9000")
    with container(images.s3, *options, *env({"INITIAL_NO_AUTH_ACTION_COUNT": "0"})) as strict:
        wait_until_answers(strict.url(9000))
        message = refusal(images.tracking, *around.options(MLFLOW_S3_ENDPOINT_URL="http://strict:9000"))
    assert f"- bucket {BUCKET} at http://strict:9000 returned 403" in message
    assert not any(value in message for value in KEYS.values())


def test_without_an_endpoint_the_bucket_is_at_aws(images: Images) -> None:
    message = refusal(images.tracking, "--network", "none", *env({"ARTIFACTS_BUCKET": BUCKET, **KEYS}))
    assert f"- bucket {BUCKET} at AWS can't be reached (EndpointConnectionError)" in message


def test_a_stop_while_it_starts_ends_it_in_time_with_status_0(images: Images, around: Surroundings) -> None:
    with container(images.tracking, *around.options()) as server:
        while "spawn" not in server.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"):
            assert server.state["Running"], server.logs
        status = server.stop()
    assert status == 0


def test_without_a_server_that_answers_it_is_not_healthy(images: Images) -> None:
    health = docker("image", "inspect", "--format", "{{json .Config.Healthcheck.Test}}", images.tracking).stdout
    assert json.loads(health)[-1] == "health"
    docker("run", "--rm", images.tracking, "health", status=1)


def test_user_and_ids_and_mlflow_image_are_build_arguments(images: Images) -> None:
    mine = f"ghcr.io/mlflow/mlflow:{images.mlflow.replace('/', '-')}"
    docker("tag", images.mlflow, mine)
    try:
        arguments = (
            *("--build-arg", f"MLFLOW_IMAGE={mine.partition(':')[2]}", "--build-arg", "MLFLOW_USER=tracker"),
            *("--build-arg", "MLFLOW_UID=1234", "--build-arg", "MLFLOW_GID=2345"),
        )
        image = images.build(ROOT / "tracking", "other", *arguments)
    finally:
        docker("image", "rm", mine)
    done = docker("run", "--rm", "--entrypoint", "sh", image, "-c", f"id; echo $HOME; stat --format '%u %g' {DATA}")
    assert done.stdout.splitlines() == [
        "uid=1234(tracker) gid=2345(tracker) groups=2345(tracker)", "/home/mlflow", "1234 2345"
    ]  # fmt: skip


def test_an_older_mlflow_is_refused_when_it_is_built(images: Images, tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text("Metadata-Version: 2.1\nName: mlflow\nVersion: 3.14.9\n")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {base_image()}\nCOPY METADATA /old/mlflow-3.14.9.dist-info/METADATA\nENV PYTHONPATH=/old\n"
    )
    old = images.build(tmp_path, "old")
    done = docker("build", "--build-arg", f"BASE_IMAGE={old}", str(ROOT / "tracking"), status=1)
    assert "3.14.9" in done.stdout + done.stderr  # which of them depends on the builder


def test_it_has_no_compiler_and_no_cache_and_writes_no_bytecode(images: Images) -> None:
    look = "command -v cc gcc make; find / -xdev -name pip -path '*/.cache/*' 2>/dev/null; env"
    printed = docker("run", "--rm", "--entrypoint", "sh", images.tracking, "-c", look).stdout.splitlines()
    assert not [line for line in printed if line.startswith("/")]
    for line in ("PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "MLFLOW_DISABLE_TELEMETRY=true"):
        assert line in printed
