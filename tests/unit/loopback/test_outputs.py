import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.github.workflow_file import read_yaml
from tests.loopback.runner.masking import masks
from tests.loopback.runner.outputs import GUARD, guard

WORKFLOW = """\
on: {repository_dispatch: {types: [x]}}
jobs:
  resolve:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    if: ${{ !cancelled() }}
    outputs:
      image: ${{ steps.look.outputs.image }}
      leak-1: pre-${{ steps.look.outputs.leak }}
    steps:
      - {id: look, run: 'echo "yes: no"'}
  plain:
    needs: resolve
    if: needs.resolve.outputs.image != '' && success()
    runs-on: ubuntu-24.04
    steps: [{run: "echo needs.resolve.outputs.image ${{ needs.resolve.outputs.image }} ${{ needs.resolve.result }}"}]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree/.github/workflows"
    folder.mkdir(parents=True)
    (folder / "w.yml").write_text(WORKFLOW)
    (folder / "plain.yml").write_text("# as it was\non: push\njobs: {}\n")
    return tmp_path / "tree"


def test_outputs_pass_a_last_step_and_nothing_else_of_the_job_changes(tree: Path, tmp_path: Path) -> None:
    guard(tree, tmp_path / "masks.json")
    before, after = read_yaml(WORKFLOW), read_yaml((tree / ".github/workflows/w.yml").read_text())
    step = after["jobs"]["resolve"]["steps"].pop()
    assert step["env"] == {
        "LOOPBACK_OUTPUT_0": "${{ steps.look.outputs.image }}",
        "LOOPBACK_OUTPUT_1": "pre-${{ steps.look.outputs.leak }}",
    }
    assert after["jobs"]["resolve"].pop("outputs") == {
        "image": f"${{{{ steps.{GUARD}.outputs.image }}}}",
        "leak-1": f"${{{{ steps.{GUARD}.outputs.leak-1 }}}}",
    }
    before["jobs"]["resolve"].pop("outputs")
    assert after["jobs"]["resolve"] == before["jobs"]["resolve"]
    assert after["on"] == before["on"]
    assert (tree / ".github/workflows/plain.yml").read_text().startswith("# as it was")


def test_expressions_take_nothing_from_a_skipped_job_and_plain_text_stays(tree: Path, tmp_path: Path) -> None:
    guard(tree, tmp_path / "masks.json")
    job = read_yaml((tree / ".github/workflows/w.yml").read_text())["jobs"]["plain"]
    taken = "(needs.resolve.result != 'skipped' && needs.resolve.outputs.image || '')"
    assert job["if"] == f"{taken} != '' && success()"
    assert job["steps"] == [
        {"run": f"echo needs.resolve.outputs.image ${{{{ {taken} }}}} ${{{{ needs.resolve.result }}}}"}
    ]


def hand_over(tree: Path, tmp_path: Path, secrets: list[str], *values: str) -> tuple[str, str]:
    """Run the added step as a runner would; give what it hands over and what it says."""
    (tmp_path / "masks.json").write_text(json.dumps(masks(secrets)))
    guard(tree, tmp_path / "masks.json")
    step = read_yaml((tree / ".github/workflows/w.yml").read_text())["jobs"]["resolve"]["steps"][-1]
    environment = dict(zip(step["env"], values, strict=True)) | {"GITHUB_OUTPUT": str(tmp_path / "out")}
    done = subprocess.run(
        [sys.executable, "-c", step["run"]], env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return (tmp_path / "out").read_text(), done.stdout


def test_an_output_with_a_secret_in_it_is_dropped_with_githubs_warning(tree: Path, tmp_path: Path) -> None:
    out, said = hand_over(tree, tmp_path, ["s3cret"], "one\ntwo", "pre-s3cret")
    assert out.splitlines()[1:3] == ["one", "two"]
    assert "leak-1" not in out
    assert said == "::warning::Skip output 'leak-1' since it may contain secret.\n"


def test_case_tells_a_secret_from_another_word(tree: Path, tmp_path: Path) -> None:
    out, said = hand_over(tree, tmp_path, ["Octo"], "ghcr.io/octo/models", "OCTO")
    assert "ghcr.io/octo/models" in out
    assert "OCTO" in out
    assert said == ""
