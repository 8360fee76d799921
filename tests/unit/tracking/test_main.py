"""The image's entry point, with MLflow replaced by small servers."""

import configparser
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tracking import __main__ as entry
from tracking import volume


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of this test's own, as the entry point changes it."""
    monkeypatch.setattr("os.environ", {})


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["serv"]) == entry.main(["serve", "--port"]) == 2
    assert "serve, create-bucket, example, health" in capsys.readouterr().err


def test_create_bucket_needs_the_settings_of_the_bucket_alone(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["MLFLOW_WORKERS"] = "many"
    assert entry.main(["create-bucket"]) == 2
    (line,) = capsys.readouterr().err.splitlines()[1:]
    assert "ARTIFACTS_BUCKET" in line


class Started(Exception):
    """The server would have been started."""


Start = Callable[..., dict[str, str]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Start:
    """Starts the server with a volume, and returns the environment that MLflow would have."""

    def run(_command: Sequence[str]) -> int:
        raise Started

    def start(**environ: str) -> dict[str, str]:
        monkeypatch.setattr("os.environ", {"ARTIFACTS_BUCKET": "mlflow"} | environ)
        with pytest.raises(Started):
            entry.serve(tmp_path)
        return dict(os.environ)

    monkeypatch.setattr("tracking.bucket.check", lambda _values: None)
    monkeypatch.setattr(entry, "run", run)
    return start


def test_mlflow_and_boto3_see_no_empty_variable(start: Start) -> None:
    names = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "MLFLOW_S3_IGNORE_TLS", "MLFLOW_LOGGING_LEVEL")
    environ = start(**dict.fromkeys(names, ""), MLFLOW_SERVER_CORS_ALLOWED_ORIGINS=" ")
    assert "" not in {value.strip() for value in environ.values()}
    assert "MLFLOW_S3_ENDPOINT_URL" not in environ


def test_users_and_both_keys_are_kept_in_the_volume(start: Start, tmp_path: Path) -> None:
    auth = {"MLFLOW_BASIC_AUTH": "true", "MLFLOW_AUTH_ADMIN_PASSWORD": "sentinel-password"}
    first, second = start(**auth), start(**auth)
    for name, file in {
        "MLFLOW_FLASK_SERVER_SECRET_KEY": volume.SESSION_KEY,
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": volume.WEBHOOK_KEY,
    }.items():
        assert first[name] == second[name] == volume.kept_key(tmp_path / file)
    written = configparser.ConfigParser()
    written.read(first["MLFLOW_AUTH_CONFIG_PATH"])
    assert written["mlflow"]["database_uri"] == f"sqlite:///{tmp_path}/{volume.USERS}"


def test_a_configuration_and_keys_from_the_environment_are_used_instead(start: Start, tmp_path: Path) -> None:
    own = {
        "MLFLOW_AUTH_CONFIG_PATH": "/own.ini",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "own",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }
    environ = start(MLFLOW_BASIC_AUTH="true", **own)
    assert {name: environ[name] for name in own} == own
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_go_where_the_environment_says(start: Start) -> None:
    assert start(TMPDIR="/elsewhere")["TMPDIR"] == "/elsewhere"
    assert start()["TMPDIR"] == "/tmp"


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["serve"], 0), (["create-bucket"], 128 + signal.SIGTERM)])
def test_a_stop_is_a_servers_success_and_another_commands_failure(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int
) -> None:
    def stop(*_: object) -> int:
        raise entry.Stopped

    for name in ("serve", "create_bucket"):
        monkeypatch.setattr(entry, name, stop)
    assert entry.main(arguments) == status


@pytest.mark.parametrize(("code", "status"), [("import sys; sys.exit(3)", 3), ("pass", 1)])
def test_a_server_that_ends_without_a_stop_has_failed(code: str, status: int) -> None:
    assert entry.run([sys.executable, "-c", code]) == status


PARENT = """
import sys
from tracking import __main__ as entry
entry.listen()
try:
    sys.exit(entry.run(sys.argv[1:], 2.0))
except entry.Stopped:
    sys.exit("the stop was not handled")
"""
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = """
import signal, sys, time
def leave(*_):
    print('bye', flush=True)
    sys.exit()
signal.signal(15, leave)
print('up', flush=True)
time.sleep(60)
"""
WITH_WORKER = """
import signal, subprocess, sys, time
signal.signal(15, lambda *_: None)  # as a server that checks for signals rarely
subprocess.Popen([sys.executable, "-c", sys.argv[1]]).wait()
"""


def stop(server: list[str], sign: signal.Signals = signal.SIGTERM) -> tuple[int, bytes]:
    """Stop a running server; return the exit status and what was printed after the stop, by all of its processes."""
    command = [sys.executable, "-c", PARENT, sys.executable, "-c", *server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.send_signal(sign)
        status = parent.wait(30)
        return status, parent.stdout.read()  # ends once the children, who have it too, have ended


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_the_server_finish(sign: signal.Signals) -> None:
    assert stop([POLITE], sign) == (0, b"bye\n")


STOPPED_AT_ONCE = """
import os, signal, subprocess, sys
from tracking import __main__ as entry
class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen = Popen
entry.listen()
sys.exit(entry.run(sys.argv[1:], 0.1))
"""


def test_a_stop_that_arrives_while_the_server_is_started_stops_it() -> None:
    """In a process of its own: pytest's other threads would take the signal."""
    command = [sys.executable, "-c", STOPPED_AT_ONCE, sys.executable, "-c", DEAF]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stop_reaches_the_servers_workers_at_once() -> None:
    assert stop([WITH_WORKER, POLITE]) == (0, b"bye\n")


@pytest.mark.parametrize("server", [[DEAF], [WITH_WORKER, DEAF]])
def test_processes_that_do_not_end_are_killed(server: list[str]) -> None:
    assert stop(server) == (0, b"")


@pytest.mark.usefixtures("socket_enabled")  # on loopback alone
@pytest.mark.parametrize(
    ("environ", "status"), [({}, 0), ({"MLFLOW_HOST": "127.0.0.1"}, 0), ({"MLFLOW_STATIC_PREFIX": "/other"}, 1)]
)
def test_it_is_healthy_where_the_server_answers_below_its_prefix(environ: dict[str, str], status: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        os.environ.update({"MLFLOW_PORT": str(server.server_port), **environ})
        assert entry.main(["health"]) == status
        thread.join()
    assert entry.main(["health"]) == 1
