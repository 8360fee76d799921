import json
import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from bridge.image.errors import GateFailed
from bridge.image.settings import ImageSettings
from bridge.image.steps.gate import gate
from bridge.image.steps.report import report_failed
from bridge.image.workspace import Resolved, Workspace
from tests.unit.image.fake_programs import Programs
from tests.unit.image.in_memory import MemoryMlflow, version

DIGEST = "sha256:1"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """As the steps before the gate leave it, for an image that `resolve` has found."""
    workspace = Workspace(tmp_path)
    workspace.write_resolved(Resolved("iris (eu)", "1", "models:/m-1", "", "r.example/iris", DIGEST, ""))
    return workspace


def test_the_command_gets_the_image_and_passes(workspace: Workspace) -> None:
    workspace.sbom.write_text("{}")
    expected = f"r.example/iris@{DIGEST} {DIGEST} iris (eu) 1 {workspace.sbom}"
    gate(ImageSettings(gate=f'test "$IMAGE $DIGEST $MODEL $VERSION $SBOM" = "{expected}"'), workspace)
    assert workspace.gate() == ""


def test_an_sbom_that_was_not_written_is_empty(workspace: Workspace) -> None:
    gate(ImageSettings(gate='test -z "$SBOM"'), workspace)


@pytest.mark.parametrize("command", ["exit 7", "false; true", "false | true", "kill -9 $$", "no-such-program"])
def test_any_other_status_fails(workspace: Workspace, command: str) -> None:
    with pytest.raises(GateFailed):
        gate(ImageSettings(gate=command), workspace)
    assert workspace.gate()


def test_the_last_line_of_output_is_the_reason_and_starts_no_command_of_the_runner(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    command = "echo '::set-output name=x::y'; echo '2 critical  vulnerabilities' >&2; echo; exit 1"
    with pytest.raises(GateFailed):
        gate(ImageSettings(gate=command), workspace)
    assert workspace.gate() == "status 1: 2 critical vulnerabilities"
    assert capfd.readouterr().out.index("::stop-commands::") == 0


def test_the_reason_has_no_character_that_mlflow_cannot_store(workspace: Workspace) -> None:
    with pytest.raises(GateFailed):
        gate(ImageSettings(gate=r"printf 'red \033[31m, zero \000'; exit 1"), workspace)
    assert (workspace.gate() or "").isprintable()


def test_a_failed_gate_is_written_into_mlflow_with_the_aliases_that_it_holds(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = MemoryMlflow(version("1", **{"image.status": "pushed"}), version("2"))
    mlflow.by_alias = {"champion": "1", "stable": "2"}
    monkeypatch.setattr(ImageSettings, "mlflow", lambda _: mlflow)
    with pytest.raises(GateFailed):
        gate(ImageSettings(gate="exit 3"), workspace)
    report_failed(ImageSettings(), workspace)
    assert mlflow.written == [("image.gate", "status 3")]
    result = json.loads(workspace.result.read_text())
    assert (result["digest"], result["moved"]) == (DIGEST, [])
    assert result["held"] == [{"alias": "champion", "version": "1", "reason": "status 3"}]


@pytest.mark.parametrize("status", [0, 1])
def test_the_gate_of_the_documentation_is_decided_by_its_scanner(
    workspace: Workspace, programs: Programs, status: int
) -> None:
    page = (Path(__file__).parents[4] / "docs/workflow.md").read_text()
    (command,) = re.findall(r"^ +gate: (.*)$", page, re.MULTILINE)
    (programs.folder / "bash").symlink_to("/bin/bash")
    programs.say("trivy", "Total: 1 (CRITICAL: 1)\n", status=status)
    with pytest.raises(GateFailed) if status else nullcontext():
        gate(ImageSettings(gate=command), workspace)
    assert programs.calls[0][1][-1] == f"r.example/iris@{DIGEST}"
