from pathlib import Path

import pytest

from bridge.github.expressions import InvalidExpression
from bridge.github.workflow_file import Concurrency, Workflow, read_workflows, read_yaml


def workflow(text: str) -> Workflow:
    return Workflow(".github/workflows/x.yml", read_yaml(text))


@pytest.mark.parametrize(
    ("on", "event_type", "listens"),
    [
        ("repository_dispatch", "anything", True),
        ("[push, repository_dispatch]", "anything", True),
        ("{repository_dispatch: }", "anything", True),
        ("{repository_dispatch: {types: [one, two]}}", "two", True),
        ("{repository_dispatch: {types: one}}", "one", True),
        ("{repository_dispatch: {types: [one, two]}}", "three", False),
        ("{repository_dispatch: {types: [one]}}", "ONE", False),
        ("push", "anything", False),
        ("{workflow_dispatch: }", "anything", False),
    ],
)
def test_a_workflow_listens_to_its_types_or_to_all(on: str, event_type: str, listens: bool) -> None:
    assert workflow(f"on: {on}").listens_to(event_type) is listens


def test_on_is_not_a_boolean() -> None:
    assert read_yaml("{on: push, yes: true, day: 2026-01-01}") == {"on": "push", "yes": True, "day": "2026-01-01"}


def test_the_inputs_of_workflow_dispatch_are_read() -> None:
    parsed = workflow(
        "on: {workflow_dispatch: {inputs: {model: {required: true}, force: {type: boolean, default: false}, "
        "test: {type: choice, options: [off, ping]}}}}"
    )
    assert parsed.inputs is not None
    assert parsed.inputs["model"].required
    assert parsed.inputs["force"].default == "false"
    assert parsed.inputs["test"].options == ("off", "ping")
    assert parsed.typed({"model": "true", "force": "true"}) == {"model": "true", "force": True}
    assert workflow("on: push").inputs is None


@pytest.mark.parametrize(
    ("uses", "called"),
    [
        ("./.github/workflows/a.yml", ("", ".github/workflows/a.yml")),
        ("$/.github/workflows/a.yml", ("", ".github/workflows/a.yml")),
        ("owner/name/.github/workflows/a.yml@v1", ("owner/name", ".github/workflows/a.yml")),
        ("owner/name/.github/actions/a@v1", None),
    ],
)
def test_the_workflows_that_jobs_call_are_read(uses: str, called: tuple[str, str] | None) -> None:
    calls = workflow(f"jobs: {{a: {{uses: {uses}, with: {{x: 1}}}}, b: {{steps: []}}}}").calls
    assert [(call.repository, call.path) for call in calls] == [called] * bool(called)
    assert all(call.inputs == {"x": 1} for call in calls)


def test_the_title_is_the_evaluated_run_name_or_nothing() -> None:
    assert workflow("{on: push, run-name: 'run ${{ inputs.id }}'}").title({"inputs": {"id": "7"}}) == "run 7"
    assert workflow("{on: push}").title({}) == ""
    with pytest.raises(InvalidExpression):
        workflow("{on: push, run-name: '${{ nope( }}'}").title({})


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("A-${{ inputs.id }}", Concurrency("a-7", False)),
        ("{group: b, cancel-in-progress: true}", Concurrency("b", True)),
        ("{group: b, cancel-in-progress: \"${{ inputs.id == '7' }}\"}", Concurrency("b", True)),
        ("{group: b, cancel-in-progress: \"${{ inputs.id == '8' }}\"}", Concurrency("b", False)),
        ("{group: '${{ inputs.none }}'}", None),
        ("", None),
    ],
)
def test_a_runs_group_is_evaluated_and_ignores_case(declared: str, expected: Concurrency | None) -> None:
    assert workflow(f"on: push\nconcurrency: {declared}").concurrency({"inputs": {"id": "7"}}) == expected


def test_a_changed_file_is_read_again_and_an_invalid_one_omitted(tmp_path: Path) -> None:
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text("name: first")
    (folder / "broken.yaml").write_text("{")
    assert [entry.name for entry in read_workflows(tmp_path)] == ["first"]
    (folder / "a.yml").write_text("name: second")
    assert [(entry.path, entry.name) for entry in read_workflows(tmp_path)] == [(".github/workflows/a.yml", "second")]
    assert read_workflows(tmp_path / "nowhere") == []
