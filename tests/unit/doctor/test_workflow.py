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


def judge(route: Route, text: str | None, **more: str) -> list[Finding]:
    files = {f".github/workflows/{name}.yml": other for name, other in more.items()}
    return workflow.judge(route, files | ({PATH: text} if text is not None else {}), "main")


def named(route: Route, name: str) -> str:
    on = "{repository_dispatch: {types: [mlflow-model-version]}, workflow_dispatch: {inputs: {model: {}, version: {},"
    return f"run-name: {name!r}\non: {on} alias: {{}}, payload: {{}}}}}}}}\njobs: {{}}\n"


@pytest.mark.parametrize("route", EITHER, ids=lambda route: str(route.dispatch))
def test_our_own_workflow_is_right_by_either_way(route: Route) -> None:
    (finding,) = judge(route, OURS)
    assert finding.state is FindingState.OK, finding
    assert "its runs begin with the dispatch id" in finding.message


@pytest.mark.parametrize(
    "name",
    [
        "${{ github.event.client_payload.dispatch_id }}",
        "${{ github.event.client_payload.dispatch_id }} of ${{ github.actor }}",
        "${{ github.event_name == 'repository_dispatch' && github.event.client_payload.dispatch_id || 'x' }} y",
    ],
)
def test_any_run_name_that_begins_with_the_id_will_do(name: str) -> None:
    assert [finding.state for finding in judge(EVENT, named(EVENT, name))] == [FindingState.OK]


@pytest.mark.parametrize("route", EITHER, ids=lambda route: str(route.dispatch))
@pytest.mark.parametrize(
    "name", ["", "a model", "run ${{ github.event.client_payload.dispatch_id }}", "${{ github.run_id }}"]
)
def test_a_run_name_that_begins_otherwise_is_named_with_what_it_needs(route: Route, name: str) -> None:
    (finding,) = judge(route, named(route, name))
    assert finding.state is FindingState.FAILED
    assert "dispatch_id }}" in finding.hint


def test_a_run_name_that_cannot_be_evaluated_here_is_not_judged() -> None:
    (finding,) = judge(EVENT, named(EVENT, "${{ format('{0}', github.event.client_payload.dispatch_id) }}"))
    assert (finding.state, bool(finding.hint)) == (FindingState.UNKNOWN, True)


def test_a_workflow_that_listens_to_another_type_is_named() -> None:
    (finding,) = judge(EVENT, OURS.replace("types: [mlflow-model-version]", "types: [model]"), other="on: push")
    assert finding.state is FindingState.FAILED
    assert "listens to repository_dispatch of the type 'mlflow-model-version'" in finding.message
    assert "in on-mlflow-event.yml" in finding.hint


def test_a_repository_where_nobody_listens_is_told_to_begin() -> None:
    for files in ({}, {"push": "on: push"}, {"broken": "on: [", "list": "[]", "empty": ""}):
        (finding,) = judge(EVENT, None, **files)
        assert finding.state is FindingState.FAILED
        assert "mlflow-bridge workflow init" in finding.hint


def test_two_workflows_that_listen_are_a_warning() -> None:
    findings = judge(EVENT, OURS, second=OURS)
    assert [finding.state for finding in findings] == [FindingState.OK, FindingState.OK, FindingState.WARNING]
    assert "on-mlflow-event.yml, second.yml" in findings[-1].message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "on-mlflow-event.yml is not there on main"),
        ("on: [", "on-mlflow-event.yml is no workflow (its YAML can't be read) on main"),
        ("on: push", "doesn't listen to workflow_dispatch"),
        ("on: {workflow_dispatch: {inputs: {model: {}, version: {}}}}", "lacks the inputs alias, payload"),
        (OURS.replace("        default: false\n", "        required: true\n"), "requires the inputs force"),
    ],
)
def test_what_a_workflow_dispatch_would_be_refused_for_is_named(text: str | None, said: str) -> None:
    (finding,) = judge(BY_FILE, text)
    assert finding.state is FindingState.FAILED
    assert said in finding.message
    assert finding.hint
