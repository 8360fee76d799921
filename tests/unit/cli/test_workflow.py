"""The workflow that `workflow init` writes: checked by act, zizmor, GitHub's own schema, and against our own files."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bridge.cli import app
from bridge.cli.workflow import FILE, REGISTRIES, RegistryName, render, secrets, variables
from bridge.core.errors import BridgeError
from bridge.image.registry.credentials import AccessSettings, SignInMethod, choose_sign_in

ROOT = Path(__file__).parents[3]
OUR_CALLER = ROOT / ".github/workflows/on-mlflow-event.yml"
CALLED = ROOT / ".github/workflows/model-image.yml"
COMMIT = "owner/mlflow-actions-bridge@" + "0123456789" * 4
EVENT = "mlflow-model-version"
METHODS = {
    RegistryName.GHCR: SignInMethod.RUN_TOKEN,
    RegistryName.DOCKERHUB: SignInMethod.PASSWORD,
    RegistryName.ECR: SignInMethod.AWS_ROLE,
    RegistryName.GOOGLE: SignInMethod.GOOGLE_IDENTITY,
    RegistryName.AZURE: SignInMethod.AZURE_IDENTITY,
    RegistryName.OTHER: SignInMethod.PASSWORD,
}


def read(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  makes strings alone
    return document


def below_its_head(text: str) -> str:
    return text[text.index("\nname:") :]


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = str(Path(sys.executable).with_name(program))
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False, cwd=folder)


def init(folder: Path, *options: str) -> tuple[int, str, str]:
    (folder / ".git").mkdir(exist_ok=True)
    done = CliRunner().invoke(app, ["workflow", "init", "--path", str(folder), *options])
    return done.exit_code, done.stdout, done.stderr


def repository(registry: RegistryName) -> AccessSettings:
    """Return what a repository has that was set up with the examples that the command prints."""
    settings = {setting.name.lower(): setting.example for setting in variables(registry)}
    names = {setting.name for setting in secrets(registry)}
    permitted = read(render(registry, COMMIT, event_type=EVENT))["jobs"]["image"]["permissions"].get("id-token")
    others = {
        "has_password": "DOCKER_REGISTRY_PASSWORD" in names,
        "has_aws_keys": "AWS_ACCESS_KEY_ID" in names,
        "actions_id_token_request_url": "https://token.example" if permitted == "write" else "",
    }
    return AccessSettings.model_validate(settings | others)  # nothing of this machine's environment


def method(repository: AccessSettings) -> SignInMethod | None:
    try:
        return choose_sign_in(repository).method
    except BridgeError:
        return None


def test_the_workflow_for_every_registry_passes_act_zizmor_and_githubs_schema(tmp_path: Path) -> None:
    for registry in REGISTRIES:
        options = ("--bridge", COMMIT, "--registry", registry, "--runs-on", '["self-hosted", "linux"]')
        assert init(tmp_path, *options)[0] == 0
        (tmp_path / FILE).rename(tmp_path / FILE.with_stem(registry))
    files = [str(file) for file in (tmp_path / FILE.parent).iterdir()]
    assert len(files) == 6
    zizmor = ("--quiet", "--offline", "--pedantic", "--config", str(ROOT / ".github/zizmor.yml"))
    for command in (
        ("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files),
        ("act", "--validate", "--strict"),
        ("zizmor", *zizmor, *files),
    ):
        done = run(tmp_path, *command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_act_rejects_an_invalid_workflow(tmp_path: Path) -> None:
    init(tmp_path, "--bridge", COMMIT)
    file = tmp_path / FILE
    file.write_text(file.read_text().replace("    uses:", "    used:"))
    assert run(tmp_path, "act", "--validate", "--strict").returncode != 0


def test_it_calls_the_given_commit_on_the_given_runner() -> None:
    job = read(render(RegistryName.GHCR, COMMIT, event_type=EVENT, runs_on='["self-hosted"]'))["jobs"]["image"]
    assert job["uses"] == "owner/mlflow-actions-bridge/.github/workflows/model-image.yml@" + "0123456789" * 4
    assert job["with"]["runs-on"] == '["self-hosted"]'


def test_it_is_our_own_caller_except_for_its_head() -> None:
    assert below_its_head(render(RegistryName.GHCR, ".", event_type=EVENT)) == below_its_head(OUR_CALLER.read_text())


def test_every_method_that_any_account_can_use_without_a_stored_aws_key_has_a_registry() -> None:
    assert set(METHODS) == set(REGISTRIES)
    others = {SignInMethod.NONE, SignInMethod.AWS_KEYS, SignInMethod.DOCKER_HUB_IDENTITY}
    assert set(METHODS.values()) == set(SignInMethod) - others


@pytest.mark.parametrize("registry", REGISTRIES)
def test_with_the_printed_settings_the_run_signs_in(registry: RegistryName) -> None:
    assert choose_sign_in(repository(registry)).method is METHODS[registry]


@pytest.mark.parametrize("registry", REGISTRIES)
def test_no_printed_setting_is_superfluous(registry: RegistryName) -> None:
    full = repository(registry)
    empty = AccessSettings.model_validate({"docker_registry": full.docker_registry})
    present = {name for name in AccessSettings.model_fields if getattr(full, name) != getattr(empty, name)}
    superfluous = {
        name
        for name in present - {"docker_namespace"}
        if method(full.model_copy(update={name: getattr(empty, name)})) is METHODS[registry]
    }
    assert superfluous == set()


@pytest.mark.parametrize("registry", REGISTRIES)
def test_it_grants_only_the_permissions_that_the_sign_in_needs(registry: RegistryName) -> None:
    needed = {"contents": "read"}
    if METHODS[registry] is SignInMethod.RUN_TOKEN:
        needed["packages"] = "write"
    elif METHODS[registry] is not SignInMethod.PASSWORD:
        needed["id-token"] = "write"
    document = read(render(registry, COMMIT, event_type=EVENT))
    assert document["permissions"] == {}
    assert document["jobs"]["image"]["permissions"] == needed


def test_the_called_workflow_declares_everything_that_it_gets() -> None:
    declared = read(CALLED.read_text())["on"]["workflow_call"]
    job = read(render(RegistryName.OTHER, COMMIT, event_type=EVENT, runs_on="mine"))["jobs"]["image"]
    assert set(job["with"]) <= set(declared["inputs"])
    assert set(job["secrets"]) == set(declared["secrets"])


@pytest.mark.parametrize("registry", REGISTRIES)
def test_the_called_workflow_reads_every_printed_variable_and_secret(registry: RegistryName) -> None:
    text = CALLED.read_text()
    for context, settings in (("vars", variables(registry)), ("secrets", secrets(registry))):
        for setting in settings:
            assert re.search(rf"{context}\.{setting.name}\b", text), setting.name


@pytest.mark.parametrize(
    "runs_on",
    [
        *("self-hosted", "my runner's", "1", "模型 😀", '["self-hosted", "linux"]'),
        *('{"group": "it\'s", "labels": ["a: #b"]}', '{\n"group": "models"\n}', "${{ vars.RUNNER }}"),
    ],
)
def test_any_runner_is_quoted_correctly(runs_on: str) -> None:
    text = render(RegistryName.GHCR, COMMIT, event_type=EVENT, runs_on=runs_on)
    assert read(text)["jobs"]["image"]["with"]["runs-on"] == runs_on


@pytest.mark.parametrize("runs_on", ['["self-hosted"', "{group: models}", "[]", '{"groups": "models"}'])
def test_a_runner_in_invalid_json_is_refused(runs_on: str, tmp_path: Path) -> None:
    code, _, err = init(tmp_path, "--bridge", COMMIT, "--runs-on", runs_on)
    assert code == 1
    assert "--runs-on" in err
    assert '"group"' in err
    assert not (tmp_path / ".github").exists()


@pytest.mark.parametrize(
    ("bridge", "origin", "runs_on", "warns"),
    [
        (COMMIT, "", "mine", True),
        (COMMIT, "git@github.com:someone/models.git", '{"group": "g"}', True),
        (COMMIT, "https://github.com/someone/models", "ubuntu-24.04", False),
        (COMMIT, "https://github.com/Owner/models.git", "mine", False),
        (".", "https://github.com/someone/models", "mine", False),
        (COMMIT, "https://github.com/someone/models", "${{ vars.RUNNER }}", False),
    ],
)
def test_a_self_hosted_runner_and_another_owner_are_a_warning(
    bridge: str, origin: str, runs_on: str, warns: bool, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    if origin:
        subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", origin], check=True)
    code, out, err = init(tmp_path, "--bridge", bridge, "--runs-on", f" {runs_on} ")
    assert (code, "--bridge ." in err) == (0, warns)
    assert not origin or not warns or "someone/mlflow-actions-bridge" in err
    assert ("must be public" in out) is (bridge != ".")


@pytest.mark.parametrize("event_type", ["on", "😀", "true", "a: b", "模型", "x # y", "${{ x }}", "1", "don't"])
def test_any_event_type_is_quoted_correctly(event_type: str) -> None:
    document = read(render(RegistryName.GHCR, COMMIT, event_type=event_type))
    assert document["on"]["repository_dispatch"]["types"] == [event_type]


def test_the_settings_are_printed_for_people_and_as_json(tmp_path: Path) -> None:
    code, out, err = init(tmp_path, "--bridge", "owner/mlflow-actions-bridge@v1", "--registry", "dockerhub")
    assert code == 0
    for line in ("variable MLFLOW_TRACKING_URI", "variable DOCKER_NAMESPACE", "secret DOCKER_REGISTRY_PASSWORD"):
        assert f"  {line}: " in out
    assert "warning" in err, "a tag can move"
    code, out, err = init(tmp_path, "--bridge", COMMIT, "--force", "--json")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert list(printed["variables"]) == ["MLFLOW_TRACKING_URI"]
    assert printed["file"] == str(tmp_path / FILE)


def test_print_writes_no_file(tmp_path: Path) -> None:
    code, out, err = init(tmp_path, "--bridge", COMMIT, "--registry", "azure", "--print")
    assert (code, out, err) == (0, render(RegistryName.AZURE, COMMIT, event_type=EVENT), "")
    assert not (tmp_path / FILE).exists()


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    init(tmp_path, "--bridge", COMMIT)
    file = tmp_path / FILE
    file.write_text("mine")
    code, _, err = init(tmp_path, "--bridge", COMMIT)
    assert (code, file.read_text()) == (1, "mine")
    assert "--force" in err
    assert init(tmp_path, "--bridge", COMMIT, "--force")[0] == 0
    assert file.read_text() != "mine"


def test_it_only_writes_into_the_root_of_a_checkout(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["workflow", "init", "--path", str(tmp_path), "--bridge", COMMIT])
    assert done.exit_code == 1
    assert "--path" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bridge", ["", "owner", "owner/name", "owner/name@", "a b/c@d", "o/n@x # y", "../x@y", "o/n@x\ny"]
)
def test_a_bridge_without_a_commit_is_refused(bridge: str, tmp_path: Path) -> None:
    code, _, err = init(tmp_path, "--bridge", bridge)
    assert code == 1
    assert "owner/mlflow-actions-bridge@COMMIT" in err
    assert not (tmp_path / ".github").exists()
