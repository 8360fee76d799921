"""What the tracking server's environment means, and how each thing that is wrong in it is told."""

import base64

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from tracking import settings

GOOD = {"ARTIFACTS_BUCKET": "mlflow"}
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "sentinel"}


def told(**environ: str) -> tuple[str, ...]:
    return settings.read(GOOD | environ).problems


def command(**environ: str) -> list[str]:
    read = settings.read(GOOD | environ)
    assert read.problems == ()
    assert read.storage is not None
    return settings.command(read, read.storage)


def test_a_bucket_at_aws_is_all_it_takes() -> None:
    read = settings.read(GOOD)
    assert read.problems == ()
    assert read.storage == settings.Storage("mlflow", None)
    assert read.backend_store_uri == "sqlite:////mlflow/tracking/mlflow.db"
    assert read.database == "/mlflow/tracking/mlflow.db"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert settings.read({"ARTIFACTS_BUCKET": " "}).problems == settings.read({}).problems != ()


def test_an_endpoint_needs_both_keys() -> None:
    lines = told(MLFLOW_S3_ENDPOINT_URL="http://s3:9000")
    assert [line.split()[0] for line in lines] == list(KEYS)


@pytest.mark.parametrize("name", KEYS)
def test_one_key_needs_the_other(name: str) -> None:
    (other,) = set(KEYS) - {name}
    assert [line.split()[0] for line in told(**{name: "given"})] == [other]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARTIFACTS_BUCKET", "s3://mlflow"),
        ("ARTIFACTS_BUCKET", "Capital"),
        ("MLFLOW_S3_ENDPOINT_URL", "sentinel:9000"),
        ("MLFLOW_S3_ENDPOINT_URL", "http://user:sentinel@s3"),
        ("MLFLOW_S3_ENDPOINT_URL", "http://s3:port"),
        ("MLFLOW_BACKEND_STORE_URI", "mysql://sentinel@host/name"),
        ("MLFLOW_BACKEND_STORE_URI", "sqlite://"),
        ("MLFLOW_BACKEND_STORE_URI", "sqlite:///relative.db"),
        ("MLFLOW_BACKEND_STORE_URI", "postgresql://host"),
        ("MLFLOW_PORT", "65536"),
        ("MLFLOW_PORT", "０"),
        ("MLFLOW_WORKERS", "-1"),
        ("MLFLOW_STATIC_PREFIX", "sentinel"),
        ("MLFLOW_STATIC_PREFIX", "/sentinel/"),
        ("MLFLOW_SERVER_ALLOWED_HOSTS", "https://sentinel"),
        ("MLFLOW_SERVER_ALLOWED_HOSTS", "a,,b"),
        ("MLFLOW_BASIC_AUTH", "perhaps"),
        ("MLFLOW_S3_IGNORE_TLS", "sentinel"),
        ("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "sentinel"),
        ("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "ü" * 44),
    ],
)
def test_what_is_wrong_is_told_by_name_alone(name: str, value: str) -> None:
    (line,) = told(**KEYS, **{name: value}) if name != "ARTIFACTS_BUCKET" else settings.read({name: value}).problems
    assert line.startswith(f"{name} is wrong (")
    assert "sentinel" not in line


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_the_driver_in_the_image_and_never_by_an_argument(scheme: str) -> None:
    read = settings.read(GOOD | {"MLFLOW_BACKEND_STORE_URI": f"{scheme}://u:sentinel@db/name"})
    assert read.storage is not None
    assert read.database is None
    environment = settings.environment(read, read.storage, "key", None)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql+psycopg://u:sentinel@db/name"
    assert "sentinel" not in " ".join(settings.command(read, read.storage))


def test_artifacts_go_through_the_server_both_ways() -> None:
    said = command()
    assert "--serve-artifacts" in said
    assert said[said.index("--artifacts-destination") + 1] == "proxied-s3://mlflow"


def test_port_workers_prefix_and_sign_in_are_options() -> None:
    said = " ".join(
        command(
            MLFLOW_HOST="127.0.0.1",
            MLFLOW_PORT="8080",
            MLFLOW_WORKERS="7",
            MLFLOW_STATIC_PREFIX="/a/b",
            MLFLOW_BASIC_AUTH="true",
            MLFLOW_AUTH_ADMIN_PASSWORD="sentinel-password",
            MLFLOW_UVICORN_OPTS="--limit-concurrency 9",
        )
    )
    for option in (
        *("--host 127.0.0.1", "--port 8080", "--workers 7", "--static-prefix /a/b", "--app-name basic-auth"),
        "--timeout-graceful-shutdown 2 --limit-concurrency 9",
    ):
        assert option in said
    assert "sentinel" not in said


def test_basic_auth_needs_a_long_password_until_there_are_users() -> None:
    assert [line[:40] for line in told(MLFLOW_BASIC_AUTH="1")] == ["MLFLOW_AUTH_ADMIN_PASSWORD is not set: s"]
    assert "too short" in told(MLFLOW_BASIC_AUTH="1", MLFLOW_AUTH_ADMIN_PASSWORD="short")[0]
    assert settings.read(GOOD | {"MLFLOW_BASIC_AUTH": "1"}, users_exist=True).problems == ()
    assert told(MLFLOW_BASIC_AUTH="1", MLFLOW_AUTH_CONFIG_PATH="/own.ini") == ()


@pytest.mark.parametrize(
    "hosts", ["mlflow.example.com,tracking:5000", "*", "[::1]:5000", "10.0.0.*:5000", "localhost:*"]
)
def test_hosts_are_taken_as_mlflow_writes_them(hosts: str) -> None:
    assert told(MLFLOW_SERVER_ALLOWED_HOSTS=hosts) == ()


def test_only_another_s3_is_spared_the_checksums_of_aws() -> None:
    assert settings.s3_environment(settings.Storage("mlflow", None)) == {}
    assert settings.s3_environment(settings.Storage("mlflow", "http://s3")) == {
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def test_a_certificate_is_passed_over_only_where_that_is_said() -> None:
    given = GOOD | KEYS | {"MLFLOW_S3_ENDPOINT_URL": "https://s3"}
    for said, verify in (("", True), ("true", False), ("false", True), ("Yes", False), ("off", True)):
        read = settings.read(given | {"MLFLOW_S3_IGNORE_TLS": said})
        assert read.storage is not None
        assert read.storage.verify is verify
        passed = settings.environment(read, read.storage, "key", None)["MLFLOW_S3_IGNORE_TLS"]
        assert passed == str(not verify).lower()  # MLflow takes fewer words for it than we


@given(st.binary(min_size=32, max_size=32))
def test_every_fernet_key_is_one(raw: bytes) -> None:
    key = base64.urlsafe_b64encode(raw).decode()
    Fernet(key)
    assert settings.is_fernet_key(key)


@given(st.text())
def test_whatever_is_taken_as_a_fernet_key_is_one(text: str) -> None:
    problems = told(MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=text)
    if text.strip() and not problems:
        Fernet(text.strip())
    assert bool(problems) == bool(text.strip() and not settings.is_fernet_key(text.strip()))
