"""The whole way of a delivery: a real MLflow server, a real bridge process, a loopback GitHub."""

import json
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import httpx2
import pytest
from mlflow.entities.webhook import WebhookEvent
from mlflow.webhooks.types import EVENT_TO_PAYLOAD_CLASS

from bridge.core.events import EventKind
from bridge.mlflow.client import MlflowApi
from tests.integration.conftest import SECRET, TOKEN, Create
from tests.integration.deliveries import VALID, post, rows
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer, MlflowServer
from tests.waiting import until

_NOT_OUT = "select count(*) from dispatches where state not in ('sent', 'running')"
"""Counts what has not gone out; the follower may have found the run of what has."""


class Silence:
    """A server that takes one request and never answers."""

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        return self

    def received(self) -> bytes:
        """Wait for a request and give its body."""
        self._listening.settimeout(10)
        connection, _ = self._listening.accept()
        self._connections.append(connection)
        connection.settimeout(10)
        raw = b""
        while True:
            raw += connection.recv(65_536)
            head, found, body = raw.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if found and length and len(body) == int(length.group(1)):
                return body

    def __exit__(self, *_: object) -> None:
        for connection in [*self._connections, self._listening]:
            connection.close()


ALL_KINDS = [str(WebhookEvent(*pair)) for pair in EVENT_TO_PAYLOAD_CLASS]


@pytest.fixture
def webhook(mlflow_server: MlflowServer, mlflow_api: MlflowApi, bridge: BridgeServer) -> Iterator[str]:
    """MLflow's webhook to this bridge, for all kinds that MLflow has."""
    webhook_id = mlflow_api.create_webhook(f"bridge-{bridge.pid}", f"{bridge.url}/webhook", ALL_KINDS, SECRET)
    yield webhook_id
    httpx2.delete(f"{mlflow_server.url}/api/2.0/mlflow/webhooks/{webhook_id}", trust_env=False).raise_for_status()


def test_a_registered_version_is_dispatched_with_its_name_and_source(
    webhook: str,
    bridge: BridgeServer,
    github: LoopbackGitHub,
    create: Create,
    model_name: str,
    registered: str,
) -> None:
    until(lambda: len(github.dispatches) == 1)
    time.sleep(1.1)  # so that the measurement is not that of MLflow's first delivery
    began = time.time()
    create("model-versions/create", name=model_name, source=f"models:/{registered}", model_id=registered)
    until(lambda: len(github.dispatches) == 2)
    seconds = github.dispatches[1].received_at.timestamp() - began
    print(f"registration to dispatch: {seconds * 1000:.0f} ms")

    payload = github.dispatches[1].client_payload
    assert payload["model"] == {
        "name": model_name,
        "version": "2",
        "alias": None,
        "source": f"models:/{registered}",
        "run_id": None,
    }
    until(lambda: len(github.runs) == 2)
    assert github.runs[0].title.startswith(f"{payload['dispatch_id']} ")
    until(lambda: rows(bridge.folder, _NOT_OUT) == [(0,)])


def test_an_alias_is_dispatched_and_tags_are_not(
    webhook: str,
    bridge: BridgeServer,
    github: LoopbackGitHub,
    create: Create,
    mlflow_api: MlflowApi,
    registered: str,
    model_name: str,
) -> None:
    mlflow_api.set_version_tag(model_name, "1", "image.status", "building")
    mlflow_api.set_version_tag(model_name, "1", "stage", "gold")
    create("registered-models/alias", name=model_name, alias="champion", version="1")
    until(lambda: len(github.dispatches) == 2)
    until(lambda: bridge.log.read_text().count('"ignored"') == 2)
    assert {(sent.client_payload["event"], sent.client_payload["model"]["alias"]) for sent in github.dispatches} == {
        ("model_version.created", None),
        ("model_version_alias.created", "champion"),
    }


def test_mlflows_own_test_events_are_answered_and_never_dispatched(
    webhook: str, bridge: BridgeServer, github: LoopbackGitHub, mlflow_api: MlflowApi
) -> None:
    for kind in ALL_KINDS:
        tested = mlflow_api.test_webhook(webhook, kind)
        said = json.loads(tested.body or "{}")
        if kind in set(EventKind):
            assert (tested.success, tested.status, said["status"]) == (True, 200, "test"), kind
        else:
            assert (tested.success, tested.status) == (False, 422), kind
            assert "model_version.created" in said["detail"]
    assert rows(bridge.folder, "select count(*) from deliveries") == [(0,)]
    assert github.dispatches == ()


def test_a_webhook_with_another_secret_is_told_so_in_mlflow(bridge: BridgeServer, mlflow_api: MlflowApi) -> None:
    webhook = mlflow_api.create_webhook(f"other-{bridge.pid}", f"{bridge.url}/webhook", ["model_version.created"], "x")
    tested = mlflow_api.test_webhook(webhook, "model_version.created")
    assert (tested.success, tested.status) == (False, 401)
    assert "MLFLOW_WEBHOOK_SECRET" in str(tested.body)


def test_what_was_accepted_goes_out_after_a_kill(
    settings: dict[str, str], folder: Path, github: LoopbackGitHub
) -> None:
    down = {**settings, "GITHUB_API_URL": "http://127.0.0.1:9"}
    with BridgeServer(down, folder) as bridge:
        answers = [post(bridge.url, VALID[0]).status_code for _ in range(5)]
        bridge.kill()
    assert answers == [202] * 5
    with BridgeServer(settings, folder):
        until(lambda: len(github.dispatches) == 5)
        until(lambda: rows(folder, _NOT_OUT) == [(0,)])


@pytest.mark.parametrize("github_acted", [True, False])
def test_a_bridge_killed_while_sending_sends_again_only_where_no_run_is_found(
    settings: dict[str, str], folder: Path, github: LoopbackGitHub, github_acted: bool
) -> None:
    quick = settings | {"DISPATCH_SETTLE": "0.5"}
    with Silence() as silent, BridgeServer(quick | {"GITHUB_API_URL": silent.url}, folder) as bridge:
        assert post(bridge.url, VALID[0]).status_code == 202
        request = silent.received()
        bridge.kill()
    if github_acted:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{github.url}/repos/owner/models/dispatches"
        assert httpx2.post(url, content=request, headers=headers, trust_env=False).status_code == 204
    with BridgeServer(quick, folder):
        until(lambda: rows(folder, _NOT_OUT) == [(0,)])
    assert len(github.dispatches) == 1
    assert rows(folder, "select run_id is not null from dispatches") == [(int(github_acted),)]


def test_the_log_is_one_object_a_line_and_holds_no_secret(bridge: BridgeServer, github: LoopbackGitHub) -> None:
    post(bridge.url, VALID[0])
    post(bridge.url, b"{}")
    httpx2.post(f"{bridge.url}/webhook", content=b"x", trust_env=False)
    until(lambda: len(github.dispatches) == 1)
    until(lambda: '"dispatched"' in bridge.log.read_text())
    lines = [json.loads(line) for line in bridge.log.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events.count("delivery") == 1
    assert events.count("delivery refused") == 2
    (dispatched,) = [line for line in lines if line["event"] == "dispatched"]
    assert dispatched["dispatch_id"] == github.dispatches[0].client_payload["dispatch_id"]
    assert SECRET not in bridge.log.read_text()
    assert TOKEN not in bridge.log.read_text()


def test_a_ledger_that_another_process_holds_asks_mlflow_to_come_again(bridge: BridgeServer) -> None:
    with closing(sqlite3.connect(bridge.folder / "mlflow-bridge.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = post(bridge.url, VALID[0])
        assert httpx2.get(f"{bridge.url}/ready", trust_env=False, timeout=30).status_code == 503
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert post(bridge.url, VALID[0]).status_code == 202
