"""`webhook`, `deliveries` and `reconcile` against a real MLflow, real bridges and a loopback GitHub."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bridge.mlflow.client import MlflowApi, Webhook
from tests.integration.conftest import REPOSITORY, SECRET, TOKEN, Create
from tests.integration.deliveries import rows
from tests.integration.fast_bridge import WORKFLOW, FakeRunner, QuickBridge
from tests.integration.test_doctor import made_tree
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer, MlflowServer
from tests.waiting import PATIENCE, until

NEXT_SECRET = "sentinel-secret-after-the-rotation"
ROOT = Path(__file__).parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(settings: dict[str, str], mlflow_server: MlflowServer, folder: Path) -> dict[str, str]:
    """The settings that bridge and commands have in common; the reconciler is off, and finds no lost event."""
    more = {"MLFLOW_TRACKING_URI": mlflow_server.url, "RECONCILE_INTERVAL": "0"}
    return settings | more | {"DATABASE_URL": f"sqlite:///{folder}/mlflow-bridge.db"}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs a command; no secret is ever in what it says."""

    def run(*command: str, **other: str) -> subprocess.CompletedProcess[str]:
        env = environment | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "200"} | other
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.integration.short_waits" if command[0] == "reconcile" else "bridge",
                *command,
            ],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        for secret in (SECRET, NEXT_SECRET, TOKEN):
            assert secret not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def webhooks(mlflow_api: MlflowApi) -> Iterator[Callable[[], list[Webhook]]]:
    """Gives the webhooks that were made meanwhile, newest first; they are gone afterwards."""
    known = {each.id for each in mlflow_api.webhooks()}

    def new() -> list[Webhook]:
        return [each for each in mlflow_api.webhooks() if each.id not in known]

    yield new
    for each in new():
        mlflow_api.delete_webhook(each.id)


def read(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_create_registers_both_events_with_our_secret_and_tests_it(
    run: Run, environment: dict[str, str], folder: Path, webhooks: Callable[[], list[Webhook]]
) -> None:
    with BridgeServer(environment, folder) as bridge:
        made = read(run("webhook", "create", bridge.url, "--json"))
        assert made["created"] is True
        assert made["test"]["state"] == "ok"
        assert made["url"] == f"{bridge.url}/webhook"
        (webhook,) = webhooks()
        assert set(webhook.events) == {"model_version.created", "model_version_alias.created"}
        again = read(run("webhook", "create", f"{bridge.url}/webhook", "--json"))
        assert (again["id"], again["created"]) == (made["id"], False)
        listed = [each for each in read(run("webhook", "list", "--json")) if each["id"] == made["id"]]
        assert listed[0]["leads_to_bridge"] is True
        assert run("webhook", "test", made["id"]).returncode == 0


def test_create_updates_an_existing_webhook(
    run: Run, environment: dict[str, str], folder: Path, mlflow_api: MlflowApi, webhooks: Callable[[], list[Webhook]]
) -> None:
    with BridgeServer(environment, folder) as bridge:
        url = f"{bridge.url}/webhook"
        mlflow_api.create_webhook("half", url, ["model_version.created"], SECRET, active=False)
        updated = read(run("webhook", "create", url, "--json"))
    assert updated["created"] is False
    (webhook,) = webhooks()
    assert webhook.active
    assert set(webhook.events) == {"model_version.created", "model_version_alias.created"}


def test_a_rotation_loses_no_delivery(
    run: Run,
    environment: dict[str, str],
    folder: Path,
    mlflow_api: MlflowApi,
    create: Create,
    webhooks: Callable[[], list[Webhook]],
) -> None:
    both = {"MLFLOW_WEBHOOK_SECRET": NEXT_SECRET, "MLFLOW_WEBHOOK_SECRET_PREVIOUS": SECRET}
    bridge = BridgeServer(environment, folder)
    model, done, made, registry = f"rotated {uuid4().hex[:8]}", threading.Event(), 0, threading.Lock()

    def all_are_told() -> None:
        until(lambda: len(told(folder, model)) == made)

    with bridge:
        assert run("webhook", "create", bridge.url).returncode == 0
        time.sleep(1.5)  # until MLflow has heard of it
        (webhook,) = webhooks()
        create("registered-models/create", name=model)

        def register() -> None:
            nonlocal made
            while not done.wait(0.2):
                with registry:
                    create("model-versions/create", name=model, source="s3://bucket/model")
                    made += 1

        registering = threading.Thread(target=register)
        registering.start()
        first = run("webhook", "rotate", webhook.id)
        assert (first.returncode, first.stdout.splitlines()[-1]) == (0, "nothing was changed")
        early = run("webhook", "rotate", webhook.id, **both)
        assert early.returncode == 1
        assert "nothing was changed" in early.stdout
        registry.acquire()  # what MLflow can't deliver while the bridge is down is another matter
        all_are_told()
    bridge._env |= both
    with bridge:
        registry.release()
        second = run("webhook", "rotate", webhook.id, **both)
        assert second.returncode == 0, second.stdout
        assert "step 2 of 3, done" in second.stdout
        assert "6 minutes" in second.stdout
        time.sleep(2)  # the minute of MLflow's cache is a second here
        registry.acquire()
        all_are_told()
    del bridge._env["MLFLOW_WEBHOOK_SECRET_PREVIOUS"]
    with bridge:
        registry.release()
        time.sleep(1)
        done.set()
        registering.join()
        all_are_told()
        assert [each.id for each in webhooks()] == [webhook.id]
    assert made > 10
    assert bridge.log.read_text().count("SignatureMismatch") == 1, "none but the trial of the early rotation"


def told(folder: Path, model: str) -> list[tuple[Any, ...]]:
    return rows(folder, f"select version from deliveries where model = '{model}'")  # noqa: S608  a name of our own


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def followed(
    environment: dict[str, str], folder: Path, tmp_path: Path, runner: FakeRunner, run: Run
) -> Iterator[QuickBridge]:
    """A bridge that takes MLflow's deliveries, with a GitHub that runs what it is sent."""
    tree = made_tree(tmp_path / "tree", WORKFLOW)
    with LoopbackGitHub(
        repository=REPOSITORY, tree=tree, token=TOKEN, folder=tmp_path / "running", runner=runner
    ) as github:
        environment |= {"GITHUB_API_URL": github.url, "GITHUB_POLL_INTERVAL": "0.3", "QUICK_GRACE": "0"}
        with QuickBridge(environment, folder) as bridge:
            yield bridge


def test_follow_waits_for_a_run_and_tells_its_end_and_replay_sends_it_again(
    followed: QuickBridge, run: Run, create: Create, webhooks: Callable[[], list[Webhook]], runner: FakeRunner
) -> None:
    good, bad = (f"{word} {uuid4().hex[:8]}" for word in ("good", "bad"))
    runner.conclusions[bad] = "failure"
    assert run("webhook", "create", followed.url).returncode == 0
    time.sleep(1.5)
    waiting: list[subprocess.CompletedProcess[str]] = []
    early = threading.Thread(
        target=lambda: waiting.append(run("deliveries", "follow", "--model", good, "--version", "1", "--timeout", "30"))
    )
    early.start()
    for model in (good, bad):
        create("registered-models/create", name=model)
        create("model-versions/create", name=model, source="s3://bucket/model")
    early.join()
    assert waiting[0].returncode == 0, waiting[0].stdout
    assert f"{good} 1 → {REPOSITORY}: succeeded" in waiting[0].stdout
    failed = run("deliveries", "follow", "--model", bad, "--timeout", "30", "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["dispatches"][0]["state"] == "failed"
    assert run("deliveries", "follow", "--model", "nobody's", "--timeout", "0.2").returncode == 3

    listed = read(run("deliveries", "list", "--state", "failed", "--json"))["deliveries"]
    assert [each["model"] for each in listed] == [bad]
    delivery_id = listed[0]["id"]
    assert "the run failed: see the failed step on the run's page" in run("deliveries", "show", delivery_id).stdout
    runner.conclusions[bad] = "success"
    replayed = read(run("deliveries", "replay", delivery_id, "--json"))
    assert run("deliveries", "follow", delivery_id, "--timeout", "30").returncode == 0
    shown = read(run("deliveries", "show", delivery_id, "--json"))
    newest = shown["dispatches"][0]
    assert ([newest["id"]], newest["state"]) == (replayed["dispatch_ids"], "succeeded")
    assert delivery_id in run("deliveries", "list", "--model", bad).stdout
    unknown = run("deliveries", "replay", "nobody's")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "mlflow-bridge deliveries list" in unknown.stderr


def test_reconcile_lists_what_no_delivery_told_and_takes_it_in_once(
    followed: QuickBridge, run: Run, create: Create
) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    model = f"missed {uuid4().hex[:8]}"
    create("registered-models/create", name=model)
    for _ in range(2):
        create("model-versions/create", name=model, source="s3://bucket/model")
    mine = [(model, "1"), (model, "2")]
    for _ in range(2):
        listed = read(run("reconcile", "--since", moment, "--dry-run", "--json"))
        assert [(each["model"], each["version"]) for each in listed["found"]] == mine
    taken = read(run("reconcile", "--since", moment, "--json"))
    assert [each["delivery_id"] for each in taken["found"]] == [each["delivery_id"] for each in listed["found"]]
    assert run("deliveries", "follow", taken["found"][1]["delivery_id"], "--timeout", "30").returncode == 0
    assert "0 imported" in run("reconcile", "--since", moment).stdout


def test_the_ledger_is_not_made_by_looking_at_it(run: Run, folder: Path) -> None:
    folder.mkdir()
    done = run("deliveries", "list")
    assert (done.returncode, list(folder.iterdir())) == (1, [])
    assert "mlflow-bridge serve" in done.stderr
