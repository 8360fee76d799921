"""What a real bridge lets out — log, answers, pages, metrics, ledger — is searched for everything that is secret."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Self
from uuid import uuid4

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.integration.conftest import REPOSITORY, SECRET, TOKEN
from tests.integration.deliveries import VALID, hostile, mutated, rows, signed
from tests.loopback.github.apps import App
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer
from tests.waiting import PATIENCE, until

PREVIOUS = "sentinel-previous-secret"
PASSWORD = "sentinel-password-of-mlflow"
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PATHS = ("/", "/health", "/ready", "/metrics", "/openapi.json", "/docs", "/api/versions", "/api/deliveries", "/nowhere")
JWT = "eyJ"
"""How each JWT begins: the base64 of `{"`."""


class RefusingMlflow(BaseHTTPRequestHandler):
    """Refuses everything, and counts who was let in."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.headers["Authorization"] or "")
        body = json.dumps({"error_code": "UNAUTHENTICATED", "message": "no"}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mlflow() -> Iterator[tuple[str, list[str]]]:
    """An MLflow with a password in its address, and what it was shown."""
    asked: list[str] = []
    handler = type("Handler", (RefusingMlflow,), {"asked": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        serving = Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://bridge:{PASSWORD}@127.0.0.1:{server.server_port}", asked
        server.shutdown()
        serving.join()


@pytest.fixture
def app() -> App:
    return App("Iv23abc", PUBLIC)


@pytest.fixture
def github(tmp_path: Path, app: App) -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub(
        repository=REPOSITORY,
        tree=Path(__file__).parents[2],
        token=TOKEN,
        folder=tmp_path / "github",
        installed=app,
    ) as github:
        yield github


@pytest.fixture
def outside(bridge: BridgeServer) -> Iterator["Outside"]:
    with Outside(bridge) as outside:
        yield outside


@pytest.fixture
def settings(settings: dict[str, str], mlflow: tuple[str, list[str]], tmp_path: Path) -> dict[str, str]:
    """Every way in which a secret comes in, but GITHUB_TOKEN beside the App."""
    (tmp_path / "app.pem").write_text(PEM)
    return {
        **settings,
        "MLFLOW_WEBHOOK_SECRET_PREVIOUS": PREVIOUS,
        "MLFLOW_TRACKING_URI": mlflow[0],
        "GITHUB_TOKEN": "",
        "GITHUB_APP_ID": "Iv23abc",
        "GITHUB_APP_PRIVATE_KEY_FILE": str(tmp_path / "app.pem"),
        "GITHUB_POLL_INTERVAL": "0.2",
        "RECONCILE_INTERVAL": "0.2",
        "DISPATCH_SETTLE": "0.2",
    }


class Outside:
    """All that the bridge let out, and all signatures that it was shown."""

    def __init__(self, bridge: BridgeServer) -> None:
        self.told: list[str] = []
        self.signatures: set[str] = set()
        self._client = httpx2.Client(base_url=bridge.url, trust_env=False, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        self.signatures.add(headers.get("X-MLflow-Signature", ""))
        return self._keep(self._client.post("/webhook", content=body, headers=headers))

    def look(self) -> None:
        for path in PATHS:
            self._keep(self._client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}))

    def _keep(self, answer: httpx2.Response) -> int:
        self.told.append(f"{answer.headers}\n{answer.text}")
        return answer.status_code


def secrets(app: App, outside: Outside) -> list[str]:
    """Give everything that must stay inside; short forged signatures are nobody's secret."""
    key = [line for line in PEM.splitlines() if not line.startswith("-")]
    signatures = [each for each in outside.signatures if len(each) > 20]
    return [SECRET, PREVIOUS, TOKEN, PASSWORD, JWT, "PRIVATE KEY", *key, *app.issued, *signatures]


def found_in(text: str, wanted: list[str]) -> list[str]:
    return [each for each in wanted if each in text]


def test_no_secret_token_signature_or_key_is_let_out(
    bridge: BridgeServer,
    outside: Outside,
    github: LoopbackGitHub,
    app: App,
    mlflow: tuple[str, list[str]],
    folder: Path,
) -> None:
    chance = random.Random(3)  # noqa: S311  the same requests each time
    for body in VALID:
        assert outside.post(body, signed(body)) == 202
    for _ in range(60):
        outside.post(*hostile(chance))
        body = mutated(chance)
        outside.post(body, signed(body))
    until(lambda: len(github.dispatches) > 3)
    outside.look()
    app.revoke()
    outside.post(VALID[0], signed(VALID[0]))
    github.close()  # from now on nothing can be sent, and nothing followed
    outside.post(VALID[1], signed(VALID[1]))
    until(lambda: rows(folder, "SELECT 1 FROM dispatches WHERE state = 'pending' AND reason IS NOT NULL") != [])
    until(lambda: "can't list MLflow's model registry" in bridge.log.read_text())
    outside.look()
    bridge.stop()

    assert len(app.issued) > 0, "no App signed in"
    assert any(each.startswith("Basic ") for each in mlflow[1]), "MLflow was shown no password"
    wanted = secrets(app, outside)
    assert found_in(bridge.log.read_text(), wanted) == []
    assert found_in("\n".join(outside.told), wanted) == []
    for file in folder.iterdir():
        assert found_in(file.read_bytes().decode("latin-1"), wanted) == [], file


def test_every_line_is_one_json_object_and_those_of_a_dispatch_have_its_id_and_the_deliverys(
    bridge: BridgeServer, outside: Outside, github: LoopbackGitHub
) -> None:
    delivery_id = str(uuid4())
    assert outside.post(VALID[0], signed(VALID[0], delivery_id)) == 202
    outside.post(b"{}\n{", signed(b"{}\n{", str(uuid4())))
    until(lambda: '"event": "run state changed"' in bridge.log.read_text())
    bridge.stop()
    lines = [json.loads(line) for line in bridge.log.read_text().splitlines()]
    assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)
    by_event = {line["event"]: line for line in lines}
    assert by_event["delivery"]["delivery_id"] == delivery_id
    assert by_event["delivery refused"]["delivery_id"] != delivery_id
    for event in ("dispatched", "run state changed"):
        assert by_event[event]["delivery_id"] == delivery_id
        assert by_event[event]["dispatch_id"] in github.runs[0].title


def ended(folder: Path, **env: str) -> str:
    """Give all that a bridge says that can't start."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "serve"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": "0", **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode in (1, 2)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"DATABASE_URL": f"postgresql://bridge:{PASSWORD}@127.0.0.1:9/bridge"},
        {"DATABASE_URL": f"postgresql://bridge:{PASSWORD}@127.0.0.1:9/bridge?sentinel=1"},
        {"DATABASE_URL": f"mysql://bridge:{PASSWORD}@127.0.0.1/bridge"},
        {"GITHUB_APP_PRIVATE_KEY_FILE": "", "GITHUB_APP_PRIVATE_KEY": PEM[:-200]},
        {"GITHUB_TOKEN": TOKEN},
        {"GITHUB_TOKEN": f"{TOKEN} {TOKEN}"},
        {"MLFLOW_TRACKING_URI": f"ftp://bridge:{PASSWORD}@127.0.0.1"},
        {"MLFLOW_WEBHOOK_SECRET": "", "RECONCILE_INTERVAL": "0"},
        {"PORT": TOKEN, "LOG_FORMAT": SECRET, "GITHUB_REPOSITORY": TOKEN, "RECONCILE_INTERVAL": PASSWORD},
    ],
)
def test_a_bridge_that_cannot_start_says_why_without_a_secret(
    tmp_path: Path, settings: dict[str, str], wrong: dict[str, str]
) -> None:
    said = ended(tmp_path, **{**settings, **wrong})
    assert said.strip()
    assert "Traceback" not in said
    key = [line for line in PEM.splitlines() if not line.startswith("-")]
    assert found_in(said, [SECRET, PREVIOUS, TOKEN, PASSWORD, *key]) == []
