from typing import Any

import httpx2
import pytest

from bridge.core.findings import Finding, FindingState
from bridge.core.routing import Route
from bridge.doctor import calls
from bridge.github.responses import Answer, NotSent, Outcome
from bridge.github.workflow_file import Workflow

ROUTE = Route("r", "owner/models", "mlflow-model-version")
FAILED, WARNING, UNKNOWN = FindingState.FAILED, FindingState.WARNING, FindingState.UNKNOWN


def workflow(uses: str, **inputs: Any) -> Workflow:
    job = {"uses": f"{uses}/.github/workflows/model-image.yml", "with": inputs}
    return Workflow(".github/workflows/x.yml", {"on": "repository_dispatch", "jobs": {"image": job}})


def check(started: Workflow, seen: Outcome | None = None, *, is_server: bool = False) -> list[Finding]:
    others = {"other/bridge": seen} if seen else {}
    return calls.check(ROUTE, started, others, is_server=is_server)


def states(findings: list[Finding]) -> list[FindingState]:
    assert all(finding.hint for finding in findings)
    return [finding.state for finding in findings]


def reply(status: int, body: Any) -> Answer:
    return Answer.read(httpx2.Response(status, json=body))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (reply(200, {"private": False}), []),
        (reply(200, {"private": True}), [FAILED]),
        (reply(404, {"message": "Not Found"}), [FAILED]),
        (reply(502, {}), [UNKNOWN]),
        (NotSent("ConnectError"), [UNKNOWN]),
    ],
)
def test_the_repository_with_the_code_must_be_public(seen: Outcome, expected: list[FindingState]) -> None:
    assert states(check(workflow("other/bridge"), seen)) == expected


def test_the_code_is_in_the_called_repository_or_on_a_server_in_that_of_the_input() -> None:
    call = calls.calls(workflow("other/bridge", **{"bridge-repository": "third/bridge"}))[0]
    assert (calls.code(call, is_server=False), calls.code(call, is_server=True)) == ("other/bridge", "third/bridge")
    own = calls.calls(workflow("."))[0]
    assert calls.code(own, is_server=False) == calls.code(own, is_server=True) == ""


@pytest.mark.parametrize(
    ("uses", "runs_on", "expected"),
    [
        (".", "mine", []),
        ("owner/bridge", "mine", []),
        ("other/bridge", "ubuntu-24.04", []),
        ("other/bridge", "${{ vars.RUNNER }}", []),
        ("other/bridge", "mine", [WARNING]),
        ("other/bridge", '{"group": "models"}', [WARNING]),
        (".", '{"group": "models"', [FAILED]),
        (".", "[]", [FAILED]),
    ],
)
def test_the_runner_must_be_one_that_the_called_workflow_gets(
    uses: str, runs_on: str, expected: list[FindingState]
) -> None:
    assert states(check(workflow(uses, **{"runs-on": runs_on}))) == expected


def test_a_server_is_one_enterprise_so_its_runners_are_available() -> None:
    assert check(workflow("other/bridge", **{"runs-on": "mine"}), is_server=True) == []


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"sbom": True}, "sbom"),
        ({"attest": "true", "sbom": False}, "attest"),
        ({"sbom": "${{ inputs.sbom }}", "attest": True}, "sbom and attest"),
    ],
)
def test_inputs_that_do_not_work_on_a_server_fail_there(inputs: dict[str, Any], named: str) -> None:
    assert check(workflow(".", **inputs)) == []
    (finding,) = check(workflow(".", **inputs), is_server=True)
    assert finding.state is FAILED
    assert f"remove {named} from" in finding.hint
    assert check(workflow(".", sbom=False, attest="false"), is_server=True) == []


def test_other_calls_and_odd_jobs_are_not_checked() -> None:
    odd = {"a": None, "b": {"uses": 1}, "c": {"uses": "other/x/.github/workflows/y.yml@v1", "with": {"runs-on": "["}}}
    assert check(Workflow("x.yml", {"jobs": odd}), is_server=True) == []
    assert check(Workflow("x.yml", {"jobs": []})) == []
    assert check(Workflow("x.yml", {"jobs": {"a": {"uses": "./.github/workflows/model-image.yml", "with": 1}}})) == []
