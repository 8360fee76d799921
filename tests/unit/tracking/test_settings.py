"""What the tracking server's environment means, and which problems are found in it."""

import base64

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from tracking import settings

MINIMAL = {"ARTIFACTS_BUCKET": "mlflow"}
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "sentinel"}


def problems(**environ: str) -> dict[str, str]:
    return settings.problems(settings.read(MINIMAL | environ))


def command(**environ: str) -> str:
    values = settings.read(MINIMAL | environ)
    assert settings.problems(values) == {}
    return " ".join(settings.command(values))


def test_a_bucket_at_aws_is_enough() -> None:
    assert problems() == {}
    environment = settings.environment(settings.read(MINIMAL))
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////mlflow/tracking/mlflow.db"
    assert "AWS_REQUEST_CHECKSUM_CALCULATION" not in environment


def test_an_empty_variable_counts_as_not_set() -> None:
    assert set(problems(ARTIFACTS_BUCKET=" ")) == {"ARTIFACTS_BUCKET"}


def test_an_endpoint_needs_both_keys() -> None:
    assert set(problems(MLFLOW_S3_ENDPOINT_URL="http://s3:9000")) == set(KEYS)


@pytest.mark.parametrize("name", KEYS)
def test_one_key_needs_the_other(name: str) -> None:
    assert set(problems(**{name: "given"})) == set(KEYS) - {name}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARTIFACTS_BUCKET", "s3://sentinel"),
        ("ARTIFACTS_BUCKET", "Sentinel"),
        ("MLFLOW_S3_ENDPOINT_URL", "sentinel:9000"),
        ("MLFLOW_S3_ENDPOINT_URL", "http://user:sentinel@s3"),
        ("MLFLOW_S3_ENDPOINT_URL", "http://s3:port"),
        ("MLFLOW_BACKEND_STORE_URI", "mysql://sentinel@host/name"),
        ("MLFLOW_BACKEND_STORE_URI", "sqlite://"),
        ("MLFLOW_BACKEND_STORE_URI", "sqlite:///relative.db"),
        ("MLFLOW_BACKEND_STORE_URI", "postgresql://host"),
        ("MLFLOW_PORT", "655360"),
        ("MLFLOW_PORT", "０"),
        ("MLFLOW_WORKERS", "-1"),
        ("MLFLOW_WORKERS", "0"),
        ("MLFLOW_STATIC_PREFIX", "sentinel"),
        ("MLFLOW_STATIC_PREFIX", "/sentinel/"),
        ("MLFLOW_SERVER_ALLOWED_HOSTS", "https://sentinel"),
        ("MLFLOW_SERVER_ALLOWED_HOSTS", "a,,b"),
        ("MLFLOW_SERVER_ALLOWED_HOSTS", "a,"),
        ("MLFLOW_BASIC_AUTH", "perhaps"),
        ("MLFLOW_S3_IGNORE_TLS", "sentinel"),
        ("MLFLOW_AUTH_ADMIN_PASSWORD", "sentinel"),
        ("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "sentinel"),
        ("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "ü" * 44),
    ],
)
def test_an_invalid_value_is_reported_by_the_name_alone(name: str, value: str) -> None:
    found = problems(**KEYS, **{name: value})
    assert set(found) == {name}
    assert name in found[name]
    assert "sentinel" not in found[name].lower()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_used_with_the_images_driver_and_its_password_is_no_argument(scheme: str) -> None:
    address = f"{scheme}://u:sentinel@db/name"
    environment = settings.environment(settings.read(MINIMAL | {"MLFLOW_BACKEND_STORE_URI": address}))
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql+psycopg://u:sentinel@db/name"
    assert "sentinel" not in command(MLFLOW_BACKEND_STORE_URI=address)


def test_artifacts_go_through_the_server_in_both_directions() -> None:
    assert "--serve-artifacts --artifacts-destination proxied-s3://mlflow" in command()


def test_port_workers_prefix_and_sign_in_are_options() -> None:
    arguments = command(
        MLFLOW_HOST="127.0.0.1",
        MLFLOW_PORT="8080",
        MLFLOW_WORKERS="7",
        MLFLOW_STATIC_PREFIX="/a/b",
        MLFLOW_BASIC_AUTH="true",
        MLFLOW_AUTH_ADMIN_PASSWORD="sentinel-password",
        MLFLOW_UVICORN_OPTS="--limit-concurrency 9",
    )
    for option in (
        *("--host 127.0.0.1", "--port 8080", "--workers 7", "--static-prefix /a/b", "--app-name basic-auth"),
        "--timeout-graceful-shutdown 2 --limit-concurrency 9",
    ):
        assert option in arguments
    assert "sentinel" not in arguments


def test_basic_auth_needs_a_password_until_there_are_users() -> None:
    assert set(problems(MLFLOW_BASIC_AUTH="1")) == {"MLFLOW_AUTH_ADMIN_PASSWORD"}
    assert settings.problems(settings.read(MINIMAL | {"MLFLOW_BASIC_AUTH": "1"}), users_exist=True) == {}
    assert problems(MLFLOW_BASIC_AUTH="1", MLFLOW_AUTH_CONFIG_PATH="/own.ini") == {}


@pytest.mark.parametrize(
    "hosts", ["mlflow.example.com,tracking:5000", "*", "[::1]:5000", "10.0.0.*:5000", "localhost:*", "a, b"]
)
def test_every_form_of_a_host_is_accepted(hosts: str) -> None:
    assert problems(MLFLOW_SERVER_ALLOWED_HOSTS=hosts) == {}


@pytest.mark.parametrize(
    "url", ["http://s3:9000", "https://s3.example.com/path", "http://[::1]:9000", "http://10.0.0.1"]
)
def test_every_form_of_an_endpoint_is_accepted_without_the_checksums_of_aws(url: str) -> None:
    assert problems(**KEYS, MLFLOW_S3_ENDPOINT_URL=url) == {}
    environment = settings.environment(settings.read(MINIMAL | KEYS | {"MLFLOW_S3_ENDPOINT_URL": url}))
    assert environment["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_required"
    assert environment["AWS_RESPONSE_CHECKSUM_VALIDATION"] == "when_required"


@pytest.mark.parametrize(("flag", "passed"), [("", "false"), ("true", "true"), ("Yes", "true"), ("off", "false")])
def test_a_certificate_is_only_ignored_if_that_is_configured(flag: str, passed: str) -> None:
    environ = settings.read(MINIMAL | KEYS | {"MLFLOW_S3_IGNORE_TLS": flag})
    assert settings.environment(environ)["MLFLOW_S3_IGNORE_TLS"] == passed  # MLflow accepts fewer words than we do


@given(st.binary(min_size=32, max_size=32))
def test_every_fernet_key_is_accepted(raw: bytes) -> None:
    assert problems(MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=base64.urlsafe_b64encode(raw).decode()) == {}


@given(st.text() | st.from_regex(settings.FERNET_KEY, fullmatch=True))
def test_whatever_is_accepted_as_a_fernet_key_is_one(text: str) -> None:
    if text.strip() and not problems(MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=text):
        Fernet(text.strip())
