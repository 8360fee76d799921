from dataclasses import replace
from pathlib import Path

import pytest

from bridge.core.findings import Finding, FindingState
from bridge.core.routing import DispatchMethod, Route
from bridge.doctor import workflow

OURS = (Path(__file__).parents[3] / ".github/workflows/on-mlflow-event.yml").read_text()
PATH = ".github/workflows/on-mlflow-event.yml"
EVENT = Route("r", "owner/models", "mlflow-model-version")
BY_FILE = replace(EVENT, dispatch=DispatchMethod.WORKFLOW, workflow="on-mlflow-event.yml", ref="main")
EITHER = [EVENT, BY_FILE]


def check(route: Route, text: str | None, **more: str) -> list[Finding]:
    files = {f".github/workflows/{name}.yml": other for name, other in more.items()}
    return workflow.check(route, files | ({PATH: text} if text is not None else {}), "main")


def named(route: Route, name: str) -> str:
    on = "{repository_dispatch: {types: [mlflow-model-version]}, workflow_dispatch: {inputs: {model: {}, version: {},"
    return f"run-name: {name!r}\non: {on} alias: {{}}, payload: {{}}}}}}}}\njobs: {{}}\n"


@pytest.mark.parametrize("route", EITHER, ids=lambda route: str(route.dispatch))
def test_our_own_workflow_is_valid_by_either_method(route: Route) -> None:
    (finding,) = check(route, OURS)
    assert finding.state is FindingState.OK, finding


@pytest.mark.parametrize(
    "name",
    [
        "${{ github.event.client_payload.dispatch_id }}",
        "${{ github.event.client_payload.dispatch_id }} of ${{ github.actor }}",
        "${{ github.event_name == 'repository_dispatch' && github.event.client_payload.dispatch_id || 'x' }} y",
    ],
)
def test_any_run_name_that_begins_with_the_id_is_valid(name: str) -> None:
    assert [finding.state for finding in check(EVENT, named(EVENT, name))] == [FindingState.OK]


@pytest.mark.parametrize("route", EITHER, ids=lambda route: str(route.dispatch))
@pytest.mark.parametrize(
    "name", ["", "a model", "run ${{ github.event.client_payload.dispatch_id }}", "${{ github.run_id }}"]
)
def test_a_run_name_that_begins_otherwise_fails(route: Route, name: str) -> None:
    (finding,) = check(route, named(route, name))
    assert finding.state is FindingState.FAILED
    assert "dispatch_id }}" in finding.hint


def test_a_run_name_that_cannot_be_evaluated_here_is_unknown() -> None:
    (finding,) = check(EVENT, named(EVENT, "${{ newfunction(1) }}"))
    assert (finding.state, bool(finding.hint)) == (FindingState.UNKNOWN, True)


@pytest.mark.parametrize(
    "rejected",
    [
        *("env.X", "secrets.X", "TRUE", "runner.os", "needs.a", "job.x", "steps.a", "matrix.a", "strategy.x"),
        *("hashFiles('a')", "success()", "failure()", "always()", "cancelled()", "format('{0}', secrets.X)"),
    ],
)
def test_a_run_name_that_github_rejects_fails_although_it_begins_with_the_id(rejected: str) -> None:
    name = f"${{{{ github.event.client_payload.dispatch_id || {rejected} }}}}"
    (finding,) = check(EVENT, named(EVENT, name))
    assert (finding.state, bool(finding.hint)) == (FindingState.FAILED, True)
    assert rejected.partition("(")[0].partition(".")[0] in finding.message
    (finding,) = check(EVENT, OURS + f"concurrency: {name!r}\n")
    assert finding.state is FindingState.FAILED


def test_a_workflow_that_listens_to_another_type_fails() -> None:
    (finding,) = check(EVENT, OURS.replace("types: [mlflow-model-version]", "types: [model]"), other="on: push")
    assert finding.state is FindingState.FAILED
    assert "'mlflow-model-version'" in finding.message
    assert "on-mlflow-event.yml" in finding.hint


def test_a_repository_without_a_workflow_that_listens_fails() -> None:
    for files in (
        {},
        {"push": "on: push"},
        {"broken": "on: [", "list": "[]", "empty": ""},
        {"odd": "on: {push: !!set {a}}"},
    ):
        (finding,) = check(EVENT, None, **files)
        assert finding.state is FindingState.FAILED
        assert "mlflow-bridge workflow init" in finding.hint


def test_two_workflows_that_listen_are_a_warning() -> None:
    findings = check(EVENT, OURS, second=OURS)
    assert [finding.state for finding in findings] == [FindingState.OK, FindingState.OK, FindingState.WARNING]
    assert "on-mlflow-event.yml, second.yml" in findings[-1].message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "does not exist on main"),
        ("on: [", "YAML on main"),
        ("on: push", "does not listen to workflow_dispatch"),
        ("on: {workflow_dispatch: {inputs: {model: {}, version: {}}}}", "inputs alias, payload"),
        (OURS.replace("        default: false\n", "        required: true\n"), "inputs force"),
    ],
)
def test_a_workflow_that_github_would_reject_a_dispatch_for_fails(text: str | None, part: str) -> None:
    (finding,) = check(BY_FILE, text)
    assert finding.state is FindingState.FAILED
    assert part in finding.message
    assert finding.hint
