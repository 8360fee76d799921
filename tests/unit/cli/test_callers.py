"""The workflow that `workflow init` writes: checked by act, by GitHub's own schema, and against our own files."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bridge.cli import app, callers

ROOT = Path(__file__).parents[3]
OURS = ROOT / ".github/workflows/on-mlflow-event.yml"
CALLED = ROOT / ".github/workflows/model-image.yml"
COMMIT = "owner/mlflow-actions-bridge@" + "0123456789" * 4
EVENT = "mlflow-model-version"
EXAMPLES = ROOT / "docs/examples/callers"
EXAMPLE = {
    "ghcr": "ghcr",
    "dockerhub": "docker-hub",
    "ecr": "amazon-ecr",
    "google": "google-artifact-registry",
    "azure": "azure-container-registry",
    "other": "any-other",
}


def read(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  makes strings alone
    return document


def below_its_head(text: str) -> str:
    return text[text.index("\nname:") :]


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def init(folder: Path, *options: str) -> tuple[int, str, str]:
    (folder / ".git").mkdir(exist_ok=True)
    done = CliRunner().invoke(app, ["workflow", "init", "--path", str(folder), *options])
    return done.exit_code, done.stdout, done.stderr


def test_what_is_written_is_a_workflow_by_act_and_by_githubs_schema(tmp_path: Path) -> None:
    for registry in callers.REGISTRIES:
        options = ("--bridge", COMMIT, "--registry", registry, "--runs-on", '["self-hosted", "linux"]')
        assert init(tmp_path, *options)[0] == 0
        (tmp_path / callers.FILE).rename(tmp_path / callers.FILE.with_stem(registry))
    files = [str(file) for file in (tmp_path / callers.FILE.parent).iterdir()]
    assert len(files) == 6
    schema = [program("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *files]
    for command in (schema, [program("act"), "--validate", "--strict"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_calls_the_commit_that_is_given_on_the_runner_that_is_given() -> None:
    job = read(callers.write("ghcr", COMMIT, event_type=EVENT, runs_on='["self-hosted"]'))["jobs"]["image"]
    assert job["uses"] == "owner/mlflow-actions-bridge/.github/workflows/model-image.yml@" + "0123456789" * 4
    assert job["with"]["runs-on"] == '["self-hosted"]'


def test_act_refuses_a_workflow_that_is_wrong(tmp_path: Path) -> None:
    init(tmp_path, "--bridge", COMMIT)
    file = tmp_path / callers.FILE
    file.write_text(file.read_text().replace("    uses:", "    used:"))
    done = subprocess.run([program("act"), "--validate", "--strict"], check=False, capture_output=True, cwd=tmp_path)
    assert done.returncode != 0


def test_it_is_our_own_caller_but_for_its_head_and_the_reason_of_a_grant() -> None:
    assert below_its_head(callers.write("ghcr", ".", event_type=EVENT)) == below_its_head(OURS.read_text())


@pytest.mark.parametrize("registry", callers.REGISTRIES)
def test_just_the_permissions_are_granted_that_the_registrys_example_has(registry: str) -> None:
    document = read(callers.write(registry, COMMIT, event_type=EVENT))
    example = read((EXAMPLES / f"{EXAMPLE[registry]}.yml").read_text())
    assert document["permissions"] == {}
    assert document["jobs"]["image"]["permissions"] == example["jobs"]["image"]["permissions"]


@pytest.mark.parametrize("registry", callers.REGISTRIES)
def test_the_variables_to_set_are_those_of_the_registrys_example(registry: str) -> None:
    head = (EXAMPLES / f"{EXAMPLE[registry]}.yml").read_text().partition("Secrets of the repository")[0]
    assert {setting.name for setting in callers.variables(registry)} == set(re.findall(r"^#   ([A-Z_]+) ", head, re.M))


def test_the_called_workflow_takes_what_it_is_given() -> None:
    declared = read(CALLED.read_text())["on"]["workflow_call"]
    job = read(callers.write("other", COMMIT, event_type=EVENT, runs_on="mine"))["jobs"]["image"]
    assert set(job["with"]) <= set(declared["inputs"])
    assert set(job["secrets"]) == set(declared["secrets"])


@pytest.mark.parametrize("registry", callers.REGISTRIES)
def test_the_called_workflow_reads_every_variable_and_secret_that_is_to_be_set(registry: str) -> None:
    text = CALLED.read_text()
    for word, settings in (("vars", callers.variables(registry)), ("secrets", callers.secrets(registry))):
        for setting in settings:
            assert re.search(rf"{word}\.{setting.name}\b", text), setting.name


@pytest.mark.parametrize("event_type", ["on", "true", "a: b", "模型", "x # y", "${{ x }}", "1", "don't"])
def test_any_event_type_stays_what_it_is(event_type: str) -> None:
    document = read(callers.write("ghcr", COMMIT, event_type=event_type))
    assert document["on"]["repository_dispatch"]["types"] == [event_type]


def test_what_is_to_be_set_is_told_to_people_and_to_machines(tmp_path: Path) -> None:
    code, out, err = init(tmp_path, "--bridge", "owner/mlflow-actions-bridge@v1", "--registry", "dockerhub")
    assert code == 0
    for line in ("variable MLFLOW_TRACKING_URI", "variable DOCKER_NAMESPACE", "secret DOCKER_REGISTRY_PASSWORD"):
        assert f"  {line}: " in out
    assert "a tag or branch can be moved" in err
    code, out, err = init(tmp_path, "--bridge", COMMIT, "--force", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert list(said["variables"]) == ["MLFLOW_TRACKING_URI"]
    assert said["file"] == str(tmp_path / callers.FILE)


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    init(tmp_path, "--bridge", COMMIT)
    file = tmp_path / callers.FILE
    file.write_text("mine")
    code, _, err = init(tmp_path, "--bridge", COMMIT)
    assert (code, file.read_text()) == (1, "mine")
    assert "give --force to overwrite it" in err
    assert init(tmp_path, "--bridge", COMMIT, "--force")[0] == 0
    assert file.read_text() != "mine"


def test_it_writes_into_the_root_of_a_checkout_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["workflow", "init", "--path", str(tmp_path), "--bridge", COMMIT])
    assert done.exit_code == 1
    assert "is not the root of a git checkout" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bridge", ["", "owner", "owner/name", "owner/name@", "a b/c@d", "o/n@x # y", "../x@y", "o/n@x\ny"]
)
def test_a_bridge_that_names_no_commit_is_refused(bridge: str, tmp_path: Path) -> None:
    code, _, err = init(tmp_path, "--bridge", bridge)
    assert code == 1
    assert "give owner/mlflow-actions-bridge@commit" in err
    assert not (tmp_path / ".github").exists()
