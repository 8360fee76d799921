"""The gate between push and promotion, and what a job behind the workflow gets, by the real workflow."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.workflow_stage import WorkflowStage, by_hand, ended, ended_in, has_built, steps, tree_with
from tests.loopback.github.runs import Run

PASSED = "Promote aliases that passed the checks"
DEPLOY = """
  deploy:
    needs: image
    if: contains(fromJSON(needs.image.outputs.aliases), 'champion')
    runs-on: ubuntu-latest
    steps:
      - name: Deploy
        env:
          OUTPUTS: ${{ toJSON(needs.image.outputs) }}
        run: echo "deploy $(echo "$OUTPUTS" | tr -d '\\n ')"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A caller with a deploy job, and a gate that passes once the file `open` exists."""
    gate = f"""'echo "checked $IMAGE $MODEL $VERSION"; test -f {tmp_path}/open || {{ echo "1 critical"; exit 3; }}'"""
    tree = tree_with(tmp_path / "tree", gate=gate)
    caller = tree / ".github/workflows/on-mlflow-event.yml"
    caller.write_text(caller.read_text() + DEPLOY)
    return tree


def result(workflows: WorkflowStage) -> dict[str, Any]:
    """Return the artifact of the newest run."""
    content: dict[str, Any] = json.loads((workflows.folder / "runner/home/artifacts/mlflow-image.json").read_text())
    return content


def deployed(run: Run) -> list[dict[str, str]]:
    """Return the outputs that the deploy job got; empty if it did not run."""
    return [json.loads(line.partition("deploy ")[2]) for line in run.log.splitlines() if "deploy {" in line]


def test_a_gate_that_fails_holds_the_alias_and_one_that_passes_moves_it(
    workflows: WorkflowStage, tree: Path, tmp_path: Path
) -> None:
    name = f"{workflows.registry.host}/demo/gated"
    first, second = workflows.register("gated"), workflows.register("gated")
    workflows.client.set_registered_model_alias("gated", "champion", first)
    with workflows.github(tree=tree) as github:
        (tmp_path / "open").touch()
        run = ended(github, by_hand(github, model="gated", version=first))
        assert run.conclusion == "success", run.failure
        digest = workflows.registry.tags(name)[first]
        assert deployed(run) == [
            {
                "image": f"{name}@{digest}",
                "digest": digest,
                "version": first,
                "aliases": '["champion"]',
                "built": "true",
            }
        ]
        assert result(workflows)["moved"] == [{"tag": "champion", "version": first, "digest": digest, "previous": None}]
        # The gate doesn't let the next version pass: its image is there, and the alias stays.
        (tmp_path / "open").unlink()
        workflows.client.set_registered_model_alias("gated", "champion", second)
        held = ended(github, by_hand(github, model="gated", version=second))
        tags = workflows.registry.tags(name)
        assert (held.conclusion, tags["champion"]) == ("failure", digest)
        assert ended_in(held) == "Run the gate"
        assert f"checked {name}@{tags[second]} gated {second}" in held.log
        assert deployed(held) == []
        assert (result(workflows)["moved"], result(workflows)["digest"]) == ([], tags[second])
        assert [alias["alias"] for alias in result(workflows)["held"]] == ["champion"]
        with workflows.api() as api:
            written = api.version("gated", second).tags
        assert (written["image.status"], written["image.gate"]) == ("pushed", "status 3: 1 critical")
        assert "1 critical" in held.summary.replace("&#32;", " ")
        # The run of the first version moves nothing that points to the second.
        (tmp_path / "open").touch()
        assert ended(github, by_hand(github, model="gated", version=first)).conclusion == "success"
        assert workflows.registry.tags(name)["champion"] == digest
        passed = ended(github, by_hand(github, model="gated", version=second))
    assert passed.conclusion == "success", passed.failure
    assert steps(passed)[PASSED] == "success"
    assert steps(passed)["Build the image"] == "skipped"
    assert workflows.registry.tags(name)["champion"] == tags[second]
    assert result(workflows)["moved"][0]["previous"] == digest
    with workflows.api() as api:
        assert api.version("gated", second).tags["image.gate"] == "passed"


def test_two_runs_of_one_version_side_by_side_end_with_one_image_that_mlflow_has(workflows: WorkflowStage) -> None:
    number = workflows.register("twice")
    workflows.client.set_registered_model_alias("twice", "champion", number)
    with workflows.github() as one, workflows.github() as other:
        runs = [(github, by_hand(github, model="twice", version=number)) for github in (one, other)]
        finished = [ended(github, run) for github, run in runs]
    assert [run.conclusion for run in finished] == ["success"] * 2, finished[0].failure or finished[1].failure
    assert any(has_built(run) for run in finished)
    name = f"{workflows.registry.host}/demo/twice"
    tags = workflows.registry.tags(name)
    assert tags == dict.fromkeys([number, "champion"], tags[number])
    with workflows.api() as api:
        assert api.version("twice", number).tags["image.uri"] == f"{name}@{tags[number]}"


def test_a_failed_upload_or_attestation_withholds_no_alias(workflows: WorkflowStage, tmp_path: Path) -> None:
    number = workflows.register("unattested")
    workflows.client.set_registered_model_alias("unattested", "champion", number)
    for required in ("false", "true"):
        tree = tree_with(tmp_path / required, attest="true", require_attestations=required)
        action = tree / ".github/actions/attest/action.yml"
        steps_of_action = action.read_text().partition("  steps:\n")
        action.write_text("".join(steps_of_action[:2]) + "    - shell: bash\n      run: exit 1\n")
        with workflows.github(tree=tree) as github:
            run = ended(github, by_hand(github, model="unattested", version=number, force=required == "true"))
        tags = workflows.registry.tags(f"{workflows.registry.host}/demo/unattested")
        if required == "false":
            assert run.conclusion == "success", run.failure
            assert tags["champion"] == tags[number]
            assert [note.title for note in run.jobs[0].annotations if note.level == "warning"] != []
        else:
            assert ended_in(run) == "Attest the image"
            assert tags["champion"] != tags[number]
            assert steps(run)["Clean up the runner"] == "success"
            # Nor does the image pass in the next run, which finds it.
            with workflows.github(tree=tree) as github:
                run = ended(github, by_hand(github, model="unattested", version=number))
            assert ended_in(run) == "Verify the attestations of the existing image"
            assert workflows.registry.tags(f"{workflows.registry.host}/demo/unattested") == tags
