"""`mlflow-bridge doctor` and its checks of wrong set-ups: a real MLflow, a real bridge process, a loopback GitHub."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bridge.mlflow.client import MlflowApi
from tests.integration.conftest import REPOSITORY, SECRET, TOKEN
from tests.loopback.github.apps import App
from tests.loopback.github.server import PERMISSIONS, LoopbackGitHub
from tests.loopback.servers import BridgeServer, MlflowServer, free_port
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
EVENTS = ["model_version.created", "model_version_alias.created"]
WORKFLOW = (ROOT / ".github/workflows/on-mlflow-event.yml").read_text()
MAY_ASK = PERMISSIONS | {"administration": "read"}

ROUTES = """
[[route]]
repository = "owner/models"

[[route]]
name = "by hand"
repository = "owner/models"
alias = "champion"
dispatch = "workflow_dispatch"
workflow = "on-mlflow-event.yml"
ref = "main"
"""


@dataclass(frozen=True)
class Checked:
    """The findings, and the exit status."""

    status: int
    findings: list[dict[str, str]]

    @property
    def failed(self) -> list[tuple[str, str, str]]:
        """Return check, message and hint of every failed check."""
        failed = [finding for finding in self.findings if finding["state"] == "failed"]
        return [(finding["check"], finding["message"], finding["hint"]) for finding in failed]

    def of(self, check: str) -> list[str]:
        return [finding["state"] for finding in self.findings if finding["check"] == check]


class StrictMlflow(MlflowServer):
    """The MLflow of another folder's database, as it is when nobody allows it http and private addresses."""

    title = "strict-mlflow"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._env = {name: value for name, value in self._env.items() if not name.startswith("MLFLOW_WEBHOOK_ALLOW")}


Doctor = Callable[..., Checked]
MakeGithub = Callable[..., LoopbackGitHub]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with our caller workflow alone."""
    return made_tree(tmp_path_factory.mktemp("tree"), WORKFLOW)


def pair() -> tuple[str, str]:
    """Make a key, and give its public and its private half in PEM form."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode(), key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def made_tree(tree: Path, workflow: str | None) -> Path:
    folder = tree / ".github/workflows"
    if workflow is not None:
        folder.mkdir(parents=True)
        (folder / "on-mlflow-event.yml").write_text(workflow)
    return tree


@pytest.fixture(scope="module")
def github(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackGitHub]:
    folder = tmp_path_factory.mktemp("github")
    ends = datetime.now(UTC) + timedelta(days=90)
    with LoopbackGitHub(
        repository=REPOSITORY, tree=tree, token=TOKEN, folder=folder, permissions=MAY_ASK, expires=ends
    ) as github:
        yield github


@pytest.fixture
def other_github(tree: Path, tmp_path: Path) -> Iterator[MakeGithub]:
    """Makes a GitHub that differs in something."""
    with ExitStack() as stack:

        def make(**changes: Any) -> LoopbackGitHub:
            standard = {"repository": REPOSITORY, "tree": tree, "token": TOKEN, "permissions": MAY_ASK}
            return stack.enter_context(LoopbackGitHub(**{**standard, "folder": tmp_path / "github", **changes}))

        yield make


@pytest.fixture(scope="module")
def environment(
    github: LoopbackGitHub, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    ledger = tmp_path_factory.mktemp("ledger") / "bridge.db"
    return {
        "MLFLOW_WEBHOOK_SECRET": SECRET,
        "MLFLOW_TRACKING_URI": mlflow_server.url,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_API_URL": github.url,
        "DATABASE_URL": f"sqlite:///{ledger}",
        "HOST": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def bridge(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeServer]:
    with BridgeServer(environment, tmp_path_factory.mktemp("bridge")) as server:
        yield server


@pytest.fixture(scope="module")
def strict(mlflow_server: MlflowServer) -> Iterator[StrictMlflow]:
    with StrictMlflow(mlflow_server.folder) as server:
        yield server


@pytest.fixture
def webhook(mlflow_api: MlflowApi, bridge: BridgeServer) -> Iterator[str]:
    made = mlflow_api.create_webhook("bridge", f"{bridge.url}/webhook", EVENTS, SECRET)
    yield made
    mlflow_api.delete_webhook(made)


@pytest.fixture
def doctor(environment: dict[str, str], bridge: BridgeServer, tmp_path: Path) -> Doctor:
    """Runs the command with the bridge's settings and some that are wrong."""

    def run(*, without: str = "", within: Sequence[str] = (), **wrong: str) -> Checked:
        env = environment | {"PORT": bridge.url.rpartition(":")[2], "PATH": os.environ["PATH"]} | wrong
        env.pop(without, None)
        command = [*within, sys.executable, "-m", "bridge", "doctor", "--json", "--url", f"{bridge.url}/webhook"]
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.stderr == ""
        for secret in (SECRET, TOKEN):
            assert secret not in done.stdout
        printed = json.loads(done.stdout)
        assert printed["ok"] is (done.returncode == 0)
        return Checked(done.returncode, printed["findings"])

    return run


def test_a_valid_set_up_has_no_problem_and_nothing_is_started(
    doctor: Doctor, webhook: str, github: LoopbackGitHub
) -> None:
    seen = doctor()
    assert (seen.status, {each["state"] for each in seen.findings}) == (0, {"ok"}), seen.findings
    checks = [each["check"] for each in seen.findings]
    assert checks == [
        *("settings", "ledger", "bridge", "clock", "token", "repository", "permission", "permission", "actions"),
        *("workflow", "mlflow", "clock", "webhook", "delivery"),
    ]
    assert github.dispatches == ()
    assert github.runs == ()


def test_weak_settings_have_a_row_each_and_fail_nothing(doctor: Doctor, webhook: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")
    (tmp_path / ".env").chmod(0o644)
    seen = doctor(ADMIN_PASSWORD="sentinel")
    weak = [each for each in seen.findings if each["check"] == "settings" and each["state"] == "warning"]
    assert seen.status == 0
    assert {each["subject"] for each in weak} == {"ADMIN_PASSWORD", ".env"}
    assert all(each["hint"] for each in weak)
    assert "sentinel" not in str(weak)


def test_a_valid_set_up_with_an_app_and_a_route_of_either_kind_has_no_problem(
    doctor: Doctor, webhook: str, other_github: MakeGithub, tmp_path: Path
) -> None:
    public, private = pair()
    github = other_github(installed=App("Iv23abc", public))
    (tmp_path / "routes.toml").write_text(ROUTES)
    app = {"GITHUB_APP_ID": "Iv23abc", "GITHUB_APP_PRIVATE_KEY": private, "GITHUB_API_URL": github.url}
    seen = doctor(without="GITHUB_TOKEN", GITHUB_REPOSITORY="", ROUTES_FILE="routes.toml", **app)
    assert (seen.status, {each["state"] for each in seen.findings}) == (0, {"ok"}), seen.findings
    assert seen.of("app") == ["ok"]
    assert seen.of("permission") == [*seen.of("workflow"), "ok"]
    about = [each["subject"] for each in seen.findings if each["check"] == "workflow"]
    assert about == ["owner/models (route 1)", "owner/models (by hand)"]
    assert github.runs == ()


def test_a_token_that_may_not_dispatch_fails_with_the_missing_permission(
    doctor: Doctor, webhook: str, other_github: MakeGithub
) -> None:
    github = other_github(permissions={"metadata": "read", "contents": "read", "actions": "read"})
    seen = doctor(GITHUB_API_URL=github.url)
    ((check, message, hint),) = seen.failed
    assert (seen.status, check) == (1, "permission")
    assert "403 Resource not accessible by personal access token" in message
    assert hint.endswith("contents=write")
    assert seen.of("actions") == ["could not check"]


def test_a_missing_repository_fails(doctor: Doctor, webhook: str) -> None:
    seen = doctor(GITHUB_REPOSITORY="owner/other")
    ((check, _, hint),) = seen.failed
    assert check == "repository"
    assert "GITHUB_REPOSITORY" in hint


def test_a_missing_workflow_fails(doctor: Doctor, webhook: str, other_github: MakeGithub, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    seen = doctor(GITHUB_API_URL=other_github(tree=tmp_path / "empty").url)
    ((check, message, hint),) = seen.failed
    assert check == "workflow"
    assert ".github/workflows" in message
    assert "mlflow-bridge workflow init" in hint


def test_a_run_name_without_the_dispatch_id_fails(
    doctor: Doctor, webhook: str, other_github: MakeGithub, tmp_path: Path
) -> None:
    begin = WORKFLOW.index("run-name:")
    without = WORKFLOW[:begin] + "run-name: a model" + WORKFLOW[WORKFLOW.index("\n\non:") :]
    seen = doctor(GITHUB_API_URL=other_github(tree=made_tree(tmp_path / "tree", without)).url)
    ((check, message, hint),) = seen.failed
    assert check == "workflow"
    assert "on-mlflow-event.yml" in message
    assert hint.endswith("${{ github.event.client_payload.dispatch_id }}")


def calling(called: str, runs_on: str = "ubuntu-latest", more: str = "") -> str:
    """Return our workflow, calling the bridge in another repository."""
    assert WORKFLOW.count("uses: ./") == WORKFLOW.count("    with:\n") == 1
    inputs = f"    with:\n      runs-on: {runs_on!r}\n{more}"
    return (
        WORKFLOW.replace("uses: ./", f"uses: {called}/")
        .replace("model-image.yml\n", "model-image.yml@v1\n")
        .replace("    with:\n", inputs)
    )


@pytest.mark.parametrize("with_app", [False, True])
def test_a_private_repository_of_the_bridge_fails(
    doctor: Doctor, webhook: str, other_github: MakeGithub, tmp_path: Path, *, with_app: bool
) -> None:
    public, private = pair()
    tree = made_tree(tmp_path / "tree", calling("owner/bridge"))
    visible = {"owner/bridge": True, "other/bridge": False}
    github = other_github(tree=tree, visible=visible, installed=App("Iv23abc", public) if with_app else None)
    app = {"GITHUB_APP_ID": "Iv23abc", "GITHUB_APP_PRIVATE_KEY": private} if with_app else {}
    env = {"GITHUB_API_URL": github.url, "without": "GITHUB_TOKEN" if with_app else "", **app}
    ((check, message, hint),) = doctor(**env).failed
    assert check == "workflow"
    assert message.startswith("owner/bridge is private")
    assert "make owner/bridge public" in hint

    (tree / ".github/workflows/on-mlflow-event.yml").write_text(calling("owner/unseen"))
    ((_, message, hint),) = doctor(**env).failed
    assert message.startswith("owner/unseen is private or doesn't exist")

    (tree / ".github/workflows/on-mlflow-event.yml").write_text(calling("other/bridge"))
    seen = doctor(**env)
    assert (seen.status, seen.of("workflow")) == (0, ["ok"])


def test_a_self_hosted_runner_for_a_workflow_of_another_owner_is_a_warning(
    doctor: Doctor, webhook: str, other_github: MakeGithub, tmp_path: Path
) -> None:
    tree = made_tree(tmp_path / "tree", calling("other/bridge", '{"group": "models"}'))
    seen = doctor(GITHUB_API_URL=other_github(tree=tree, visible={"other/bridge": False}).url)
    assert (seen.status, seen.of("workflow")) == (0, ["ok", "warning"])
    (hint,) = [each["hint"] for each in seen.findings if each["state"] == "warning"]
    assert "`--bridge .`" in hint
    assert "owner/bridge" in hint


def test_inputs_that_a_github_enterprise_server_does_not_know_fail(
    doctor: Doctor, webhook: str, other_github: MakeGithub, tmp_path: Path
) -> None:
    text = calling("other/bridge", '["self-hosted"]', "      sbom: true\n      bridge-repository: other/bridge\n")
    made = {"tree": made_tree(tmp_path / "tree", text), "visible": {"other/bridge": False}, "enterprise": "3.17.0"}
    ((check, message, _),) = doctor(GITHUB_API_URL=other_github(**made).url).failed
    assert check == "workflow"
    assert "sets sbom," in message


def test_a_webhook_with_another_secret_fails(doctor: Doctor, webhook: str, mlflow_api: MlflowApi) -> None:
    mlflow_api.update_webhook(webhook, secret="another-secret")
    seen = doctor()
    ((check, message, hint),) = seen.failed
    assert check == "delivery"
    assert "401" in message
    assert "mlflow-bridge webhook rotate" in hint


def test_a_disabled_webhook_fails(doctor: Doctor, mlflow_api: MlflowApi, bridge: BridgeServer) -> None:
    made = mlflow_api.create_webhook("off", f"{bridge.url}/webhook", EVENTS, SECRET, active=False)
    try:
        seen = doctor()
    finally:
        mlflow_api.delete_webhook(made)
    ((check, _, hint),) = seen.failed
    assert check == "webhook"
    assert f"mlflow-bridge webhook create {bridge.url}/webhook" in hint


def test_an_mlflow_that_refuses_our_address_fails(doctor: Doctor, webhook: str, strict: StrictMlflow) -> None:
    seen = doctor(MLFLOW_TRACKING_URI=strict.url)
    ((check, _, hint),) = seen.failed
    assert check == "delivery"
    assert "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https" in hint


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://bridge.example.com", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https"),
        ("https://127.0.0.1", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true"),
    ],
)
def test_no_webhook_is_created_to_an_address_that_mlflow_refuses(
    url: str, hint: str, environment: dict[str, str], strict: StrictMlflow, mlflow_api: MlflowApi
) -> None:
    known = list(mlflow_api.webhooks())
    env = environment | {"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": strict.url}
    command = [sys.executable, "-m", "bridge", "webhook", "create", url]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert f"{url}/webhook" in done.stderr
    assert hint in done.stderr
    assert list(mlflow_api.webhooks()) == known


def test_a_wrong_clock_fails(doctor: Doctor, webhook: str, other_github: MakeGithub) -> None:
    github = other_github(clock=lambda: datetime.now(UTC) + timedelta(minutes=10))
    seen = doctor(GITHUB_API_URL=github.url)
    ((check, message, hint),) = seen.failed
    assert check == "clock"
    assert "s behind GitHub's" in message
    assert "NTP" in hint


def test_a_ledger_that_cannot_be_written_fails(doctor: Doctor, webhook: str, tmp_path: Path) -> None:
    seen = doctor(DATABASE_URL=f"sqlite:///{tmp_path}/gone/bridge.db")
    ((check, _, hint),) = seen.failed
    assert check == "ledger"
    assert "DATABASE_URL" in hint
    assert not (tmp_path / "gone").exists()


def test_a_ledger_that_can_only_be_read_fails(
    doctor: Doctor, webhook: str, environment: dict[str, str], tmp_path: Path
) -> None:
    with BridgeServer(environment | {"DATABASE_URL": ""}, tmp_path):
        pass
    (tmp_path / "mlflow-bridge.db").chmod(0o444)
    # Root may write where nobody may: without that right it is like anybody else.
    powerless = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    seen = doctor(within=powerless, DATABASE_URL=f"sqlite:///{tmp_path}/mlflow-bridge.db")
    ((check, message, hint),) = seen.failed
    assert check == "ledger"
    assert "readonly" in message
    assert "DATABASE_URL" in hint


def test_of_several_repositories_only_the_missing_one_fails(doctor: Doctor, webhook: str, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(f'[[route]]\nrepository = "owner/gone"\n{ROUTES}')
    seen = doctor(GITHUB_REPOSITORY="", ROUTES_FILE="routes.toml")
    ((check, _, _),) = seen.failed
    assert check == "repository"
    about = [(each["subject"], each["state"]) for each in seen.findings if each["check"] == "repository"]
    assert about == [("owner/gone", "failed"), ("owner/models", "ok")]
    assert len(seen.of("workflow")) == 2


def test_a_deleted_key_of_an_app_fails(doctor: Doctor, webhook: str, other_github: MakeGithub, tmp_path: Path) -> None:
    (_, deleted), (todays, _) = pair(), pair()
    github = other_github(installed=App("Iv23abc", todays))
    app = {"GITHUB_APP_ID": "Iv23abc", "GITHUB_APP_PRIVATE_KEY": deleted, "GITHUB_API_URL": github.url}
    seen = doctor(without="GITHUB_TOKEN", **app)
    ((check, message, hint),) = seen.failed
    assert check == "app"
    assert "A JSON web token could not be decoded" in message
    assert "create a new key in the App's settings" in hint


def test_all_problems_of_the_settings_are_found_at_once(doctor: Doctor) -> None:
    seen = doctor(without="GITHUB_TOKEN", PORT="none", DATABASE_URL="mysql://root:sentinel@host/db")
    assert seen.of("settings") == ["failed"] * 3
    assert "sentinel" not in str(seen.findings)


def test_a_bridge_that_does_not_run_cannot_be_checked(
    doctor: Doctor, mlflow_api: MlflowApi, environment: dict[str, str], bridge: BridgeServer
) -> None:
    port = free_port()
    assert str(port) not in bridge.url
    seen = doctor(PORT=str(port))
    assert seen.of("bridge") == ["could not check"]
