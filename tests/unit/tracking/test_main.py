"""The image's entry point, where nothing is started."""

import configparser
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tracking import __main__ as entry
from tracking import process, volume


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARTIFACTS_BUCKET", "MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLFLOW_TRACKING_URI", "BRIDGE_WEBHOOK_URL", "MLFLOW_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)


def test_another_word_is_answered_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["serv"]) == 2
    assert "serve, create-bucket, create-webhook, example or health" in capsys.readouterr().err


def test_the_bucket_is_made_by_its_own_settings_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_WORKERS", "many")
    assert entry.main(["create-bucket"]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "- ARTIFACTS_BUCKET is not set: set it to the name of the S3 bucket for artifacts"
    ]


def test_a_webhook_names_all_that_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["create-webhook"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["MLFLOW_TRACKING_URI", "BRIDGE_WEBHOOK_URL", "MLFLOW_WEBHOOK_SECRET"]


class Started(Exception):
    """What the server would have been started with."""

    def __init__(self, command: list[str], environ: Mapping[str, str]) -> None:
        self.command, self.environ = command, environ


Start = Callable[..., Started]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Start:
    def run(command: list[str], _serves: Callable[[], bool]) -> int:
        raise Started(command, dict(os.environ))

    def started(**environ: str) -> Started:
        own = {"ARTIFACTS_BUCKET": "mlflow", "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/mlflow.db"}
        monkeypatch.setattr("os.environ", own | environ)
        with pytest.raises(Started) as told:
            entry.serve(tmp_path)
        return told.value

    monkeypatch.setattr("tracking.bucket.check", lambda _storage: None)
    monkeypatch.setattr("tracking.process.run", run)
    return started


def test_mlflow_and_boto3_see_no_variable_that_is_empty(start: Start) -> None:
    names = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "MLFLOW_S3_IGNORE_TLS", "MLFLOW_LOGGING_LEVEL")
    environ = start(**dict.fromkeys(names, ""), MLFLOW_SERVER_CORS_ALLOWED_ORIGINS=" ").environ
    assert "" not in {value.strip() for value in environ.values()}
    assert environ["MLFLOW_S3_IGNORE_TLS"] == "false"
    assert "MLFLOW_S3_ENDPOINT_URL" not in environ


def test_users_their_configuration_and_both_keys_are_kept_in_the_volume(start: Start, tmp_path: Path) -> None:
    auth = {"MLFLOW_BASIC_AUTH": "true", "MLFLOW_AUTH_ADMIN_PASSWORD": "sentinel-password"}
    first, second = start(**auth).environ, start(**auth).environ
    for name, file in {
        "MLFLOW_FLASK_SERVER_SECRET_KEY": volume.SESSION_KEY,
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": volume.WEBHOOK_KEY,
    }.items():
        assert first[name] == second[name] == volume.kept_key(tmp_path / file)
    written = configparser.ConfigParser()
    written.read(first["MLFLOW_AUTH_CONFIG_PATH"])
    assert written["mlflow"]["database_uri"] == f"sqlite:///{tmp_path}/{volume.USERS}"


def test_a_configuration_and_keys_of_ones_own_are_taken_in_their_place(start: Start, tmp_path: Path) -> None:
    given = {
        "MLFLOW_AUTH_CONFIG_PATH": "/own.ini",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "own",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }
    environ = start(MLFLOW_BASIC_AUTH="true", **given).environ
    assert {name: environ[name] for name in given} == given
    assert list(tmp_path.iterdir()) == []


def test_another_place_for_temporary_files_is_left_as_it_is(start: Start) -> None:
    assert start(TMPDIR="/elsewhere").environ["TMPDIR"] == "/elsewhere"
    assert start().environ["TMPDIR"] == "/tmp"


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["serve"], 0), (["create-bucket"], 128 + signal.SIGTERM)])
def test_a_stop_is_a_servers_end_and_cuts_anything_else_short(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int
) -> None:
    def stopped(*_: object) -> int:
        raise process.Stopped

    for name in ("serve", "create_bucket"):
        monkeypatch.setattr(entry, name, stopped)
    assert entry.main(arguments) == status
