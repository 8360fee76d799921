"""Events that no delivery of MLflow reported: a real MLflow, real bridges, a loopback GitHub."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from bridge.mlflow.client import MlflowApi
from tests.integration.conftest import SECRET, Create
from tests.integration.deliveries import rows, rows_of
from tests.integration.fast_bridge import QuickBridge
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import MlflowServer
from tests.postgres import Postgres
from tests.waiting import PATIENCE, until

EVENTS = ["model_version.created", "model_version_alias.created"]


@pytest.fixture
def environment(settings: dict[str, str], mlflow_server: MlflowServer) -> dict[str, str]:
    return settings | {"MLFLOW_TRACKING_URI": mlflow_server.url, "RECONCILE_INTERVAL": "0.5"}


@pytest.fixture
def alone(environment: dict[str, str], folder: Path) -> Iterator[QuickBridge]:
    """A bridge that no webhook calls, and that has no secret for one; its first comparison is over."""
    del environment["MLFLOW_WEBHOOK_SECRET"]
    with QuickBridge(environment, folder) as bridge:
        bridge.wait_for("reconciler started")
        yield bridge


def sent(github: LoopbackGitHub) -> Counter[tuple[str, str, str | None]]:
    """Count the dispatches by what they are about."""
    models = [dispatch.client_payload["model"] for dispatch in github.dispatches]
    return Counter((model["name"], model["version"], model["alias"]) for model in models)


def add_version(create: Create, name: str) -> str:
    """Register one more version, with a logged model of its own; return its number."""
    logged = create("logged-models", experiment_id="0", name="m")["model"]["info"]["model_id"]
    made = create("model-versions/create", name=name, source=f"models:/{logged}", model_id=logged)
    return str(made["model_version"]["version"])


def register(create: Create, name: str) -> None:
    create("registered-models/create", name=name)
    add_version(create, name)


def test_it_works_alone_for_an_mlflow_without_webhooks_and_says_so(
    alone: QuickBridge, github: LoopbackGitHub, create: Create, model_name: str
) -> None:
    assert "MLFLOW_WEBHOOK_SECRET is not set" in alone.log.read_text()
    register(create, model_name)
    until(lambda: sent(github) == {(model_name, "1", None): 1})
    create("registered-models/alias", name=model_name, alias="champion", version="1")
    until(lambda: sent(github)[model_name, "1", "champion"] == 1)
    time.sleep(3)
    assert sent(github) == {(model_name, "1", None): 1, (model_name, "1", "champion"): 1}
    refused = httpx2.post(f"{alone.url}/webhook", content=b"{}", trust_env=False)
    assert refused.status_code in (400, 401)


def test_what_happened_while_the_bridge_was_down_is_dispatched_once_after_its_start(
    environment: dict[str, str], folder: Path, github: LoopbackGitHub, create: Create, model_name: str
) -> None:
    register(create, model_name)
    bridge = QuickBridge(environment, folder)
    with bridge:
        bridge.wait_for("reconciler started")
    add_version(create, model_name)
    create("registered-models/alias", name=model_name, alias="champion", version="1")
    assert sent(github) == {}
    for _ in range(2):
        with bridge:
            until(lambda: len(github.dispatches) == 2)
            time.sleep(2)
        assert sent(github) == {(model_name, "2", None): 1, (model_name, "1", "champion"): 1}


def test_since_takes_in_what_is_older_at_the_first_start(
    environment: dict[str, str], folder: Path, github: LoopbackGitHub, create: Create, model_name: str
) -> None:
    register(create, model_name)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 1))
    with QuickBridge(environment, folder, "--since", moment):
        until(lambda: sent(github)[model_name, "1", None] == 1)


def test_an_mlflow_that_cannot_be_asked_is_reported_in_ready_and_deliveries_are_taken_all_the_same(
    environment: dict[str, str], folder: Path
) -> None:
    with QuickBridge(environment | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, folder) as bridge:
        until(lambda: bridge.degraded() != [])
        (said,) = bridge.degraded()
        assert said.startswith("MLflow at http://127.0.0.1:9 can't be reached")


def test_the_process_ends_while_mlflow_hangs(environment: dict[str, str], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with QuickBridge(environment | {"MLFLOW_TRACKING_URI": uri}, folder) as bridge:
            silent.settimeout(PATIENCE)
            connection, _ = silent.accept()
            began = time.monotonic()
            bridge.stop()
            took = time.monotonic() - began
            connection.close()
    print(f"stopped in {took:.1f} s")
    assert took < 45  # MLflow hangs for longer
    assert "Finished server process" in bridge.log.read_text()


@pytest.mark.parametrize("replicas", [1, 3])
def test_after_a_days_outage_everything_is_dispatched_once(
    replicas: int,
    request: pytest.FixtureRequest,
    environment: dict[str, str],
    folder: Path,
    github: LoopbackGitHub,
    mlflow_server: MlflowServer,
    mlflow_api: MlflowApi,
    create: Create,
) -> None:
    """200 versions and 50 aliases while it is down, 20 versions while it starts, and 10 aliases on new versions."""
    # MLflow tries for some seconds to deliver what happens while the bridge starts: that long the reconciler waits.
    environment |= {"QUICK_GRACE": "15"}
    if replicas > 1:
        postgres: Postgres = request.getfixturevalue("postgres")
        environment["DATABASE_URL"] = postgres.database()
    bridges = [QuickBridge(environment, folder / str(number)) for number in range(replicas)]
    models = [f"outage {uuid4().hex[:8]}" for _ in range(10)]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: register(create, name), models))
        with ExitStack() as stack:
            for bridge in bridges:
                stack.enter_context(bridge)
            until(lambda: any("reconciler started" in bridge.log.read_text() for bridge in bridges))
        expected: set[tuple[str, str, str | None]] = set()
        for name, made in pool.map(lambda name: (name, add_version(create, name)), models * 20):
            expected.add((name, made, None))
        for name in models:
            for alias in ("a", "b", "c", "d", "e"):
                create("registered-models/alias", name=name, alias=alias, version="1")
                expected.add((name, "1", alias))
            create("registered-models/alias", name=name, alias="covered", version="2")
        webhook = mlflow_api.create_webhook(f"outage-{replicas}", f"{bridges[0].url}/webhook", EVENTS, SECRET)
        time.sleep(1.5)  # until MLflow has heard of it
        during = threading.Thread(
            target=lambda: expected.update((name, add_version(create, name), None) for name in models * 2)
        )
        with ExitStack() as stack:
            during.start()
            for bridge in bridges:
                stack.enter_context(bridge)
            during.join()
            until(lambda: not expected - set(sent(github)))
            time.sleep(20)  # another grace: whatever is to come twice comes now
            assert sent(github) == Counter(expected)
        assert len(expected) == 270
    httpx2.delete(f"{mlflow_server.url}/api/2.0/mlflow/webhooks/{webhook}", trust_env=False).raise_for_status()
    if replicas == 1:
        told = rows(folder / "0", "select count(*) from deliveries")
        assert told == [(270,)]


def test_a_model_whose_name_cannot_be_stored_is_reported_and_the_others_are_dispatched(
    environment: dict[str, str],
    folder: Path,
    github: LoopbackGitHub,
    create: Create,
    model_name: str,
    mlflow_api: MlflowApi,
    postgres: Postgres,
) -> None:
    unstorable, database = f"a\0b {model_name}", postgres.database()
    with QuickBridge(environment | {"DATABASE_URL": database}, folder) as bridge:
        bridge.wait_for("reconciler started")
        register(create, unstorable)
        create("registered-models/alias", name=unstorable, alias="champion", version="1")
        register(create, model_name)
        until(lambda: sent(github)[model_name, "1", None] == 1)
        until(lambda: bridge.degraded() != [])
        (said,) = bridge.degraded()
        assert said.isprintable()
        assert said.startswith("2 of MLflow's versions and aliases can't be dispatched")
        assert bridge.log.read_text().count("missed event can't be dispatched") == 2
        create("registered-models/alias", name=model_name, alias="champion", version="1")
        until(lambda: sent(github)[model_name, "1", "champion"] == 1)
        assert "Traceback" not in bridge.log.read_text()
    assert set(rows_of(database, "select model from deliveries")) == {(model_name,)}
    answer = httpx2.request(
        "DELETE",
        f"{mlflow_api.server}/api/2.0/mlflow/registered-models/delete",
        json={"name": unstorable},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 200
