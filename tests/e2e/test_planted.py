"""Images that somebody else pushes while a run is on its way, by the real workflow: labels can be copied.

Such an image is neither attested nor written into MLflow.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.workflow_stage import WorkflowStage, by_hand, ended, steps, tree_with
from tests.loopback.github.runs import Run
from tests.tiny_images import push_tiny_image
from tests.unit.test_workflows import PROMOTE


def tree_where(folder: Path, scripts: Mapping[str, str]) -> Path:
    """Give a checkout with SBOM and attestation, in which somebody runs a script just before the step of that name."""
    tree = tree_with(folder, sbom="true", attest="true")
    called = tree / ".github/workflows/model-image.yml"
    text = called.read_text()
    for step, script in scripts.items():
        before, name, after = text.partition(f"      - name: {step}\n")
        assert name
        text = f"{before}      - name: Meanwhile\n        run: |\n          {script}\n{name}{after}"
    called.write_text(text)
    return tree


def plant(workflows: WorkflowStage, name: str, number: str) -> tuple[str, str]:
    """Make an image with a version's labels; give its digest, and the command that puts it at the version's tag."""
    workflows.sign_in()
    registry = workflows.registry
    elsewhere = f"{registry.host}/elsewhere/{name}"
    with workflows.api() as api:
        push_tiny_image(elsewhere, name, number, api.version(name, number).source or "")
    login = f"{registry.user}:{registry.password}"
    command = f"skopeo copy --src-tls-verify=false --dest-tls-verify=false --src-creds {login} --dest-creds {login}"
    return (
        registry.tags(elsewhere)[number],
        f"{command} docker://{elsewhere}:{number} docker://{registry.host}/demo/{name}:{number}",
    )


def claim(workflows: WorkflowStage, name: str) -> str:
    """Give the command that has MLflow claim an image of version 1 in that repository."""
    tag = f"curl -fsS {workflows.mlflow.url}/api/2.0/mlflow/model-versions/set-tag --json"
    said = {"image.status": "pushed", "image.uri": f"{name}@sha256:{'0' * 64}"}
    model = {"name": name.rpartition("/")[2], "version": "1"}
    return " && ".join(f"{tag} '{json.dumps({**model, 'key': key, 'value': said[key]})}'" for key in said)


def attested(run: Run) -> set[str]:
    return set(re.findall(r"attested \S+@(sha256:[0-9a-f]{64})", run.log))


def tags(workflows: WorkflowStage, name: str, number: str) -> dict[str, str]:
    with workflows.api() as api:
        return dict(api.version(name, number).tags)


def test_an_image_that_is_pushed_between_build_and_push_is_neither_attested_nor_written_into_mlflow(
    workflows: WorkflowStage, tmp_path: Path
) -> None:
    number = workflows.register("planted-before")
    digest, script = plant(workflows, "planted-before", number)
    with workflows.github(tree=tree_where(tmp_path / "tree", {"Push the image": script})) as github:
        run = ended(github, by_hand(github, model="planted-before", version=number))
    assert run.conclusion == "success", run.failure
    assert workflows.registry.tags(f"{workflows.registry.host}/demo/planted-before") == {number: digest}
    assert attested(run) == set()
    ran = steps(run)
    assert (ran["Write the SBOM"], ran["Write the image into MLflow"]) == ("skipped", "skipped")
    said = tags(workflows, "planted-before", number)
    assert said["image.status"] != "pushed"
    assert digest not in json.dumps(said)


def test_an_image_that_is_pushed_between_push_and_promotion_is_neither_attested_nor_written_into_mlflow(
    workflows: WorkflowStage, tmp_path: Path
) -> None:
    """Before the build, tags in MLflow claim an image that is not there: they stop nothing."""
    number = workflows.register("planted-after")
    name = f"{workflows.registry.host}/demo/planted-after"
    digest, script = plant(workflows, "planted-after", number)
    tree = tree_where(tmp_path / "tree", {PROMOTE: script, "Download the model": claim(workflows, name)})
    with workflows.github(tree=tree) as github:
        run = ended(github, by_hand(github, model="planted-after", version=number))
    assert run.conclusion == "success", run.failure
    assert steps(run)["Meanwhile"] == "success"
    assert workflows.registry.tags(name) == {number: digest}
    (ours,) = attested(run)
    assert ours != digest
    assert tags(workflows, "planted-after", number)["image.uri"] == f"{name}@{ours}"
