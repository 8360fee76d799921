"""All our workflows, and those that we tell people to write, by GitHub's own parser and the checks of its editor."""

import re
from pathlib import Path

import pytest

from bridge.cli.workflow import CALLED, FILE, REGISTRIES
from bridge.cli.workflow import render as render_caller
from bridge.github.expressions import InvalidExpression, UnknownName, render
from tests.integration import actions_packages

ROOT = Path(__file__).parents[2]
CALLER = (ROOT / FILE).read_text()
FILES = {
    str(file.relative_to(ROOT)): file.read_text()
    for pattern in ("workflows/*.yml", "actions/*/action.yml")
    for file in (ROOT / ".github").glob(pattern)
}
"""The texts of our workflows and actions by path."""

CALLED_BROKEN = """
on: {workflow_call: {inputs: {size: {type: number}}}}
jobs:
  one: {runs-on: x, outputs: {done: yes}, steps: [{id: first, run: "true"}]}
  two:
    needs: one
    runs-on: x
    steps:
      - {run: "true", if: needs.one.outputs.dome}
      - {run: "true", if: steps.last.outcome}
      - {run: "echo ${{ inputs.sice }}"}
"""

BRIDGES = (".", "owner/mlflow-actions-bridge@" + "0123456789" * 4)
RUNNERS = ("", "self-hosted", '["self-hosted", "linux"]', '{"group": "models", "labels": ["linux", "x64"]}')
FENCE = re.compile(r"^```ya?ml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Found = dict[str, list[str]]


def validate(packages: Path, documents: dict[str, str]) -> Found:
    """Return what GitHub finds in each of the documents; the workflow that they call is ours."""
    found: Found = actions_packages.run(packages, "validate.js", {"documents": documents, "files": FILES})
    assert set(found) == set(documents)
    return found


def documented() -> dict[str, str]:
    """Return the workflows in the documentation; the inputs that a page shows alone are set in our caller."""
    found = {}
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for number, block in enumerate(FENCE.findall(page.read_text())):
            text = CALLER.replace("    with:\n", block) if block.startswith("    with:\n") else block
            if re.search(r"^jobs:", text, re.MULTILINE):
                found[f"{page.stem}-{number}/{FILE}"] = text
    return found


def test_github_finds_nothing_in_our_workflows_and_actions(packages: Path) -> None:
    assert {CALLED, str(FILE)} < set(FILES)
    assert {path: found for path, found in validate(packages, FILES).items() if found} == {}


def test_github_finds_nothing_in_any_workflow_that_init_writes(packages: Path) -> None:
    written = {
        f"{registry}-{bridge}-{number}/{FILE}": render_caller(registry, bridge, event_type="e", runs_on=runs_on)
        for registry in REGISTRIES
        for bridge in BRIDGES
        for number, runs_on in enumerate(RUNNERS)
    }
    assert {path: found for path, found in validate(packages, written).items() if found} == {}


def test_github_finds_nothing_in_the_workflows_of_the_documentation(packages: Path) -> None:
    documents = documented()
    assert documents
    assert {path: found for path, found in validate(packages, documents).items() if found} == {}


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("    with:\n", "    with:\n      unheard-of: x\n", "unheard-of"),
        ("    secrets:\n", "    secrets:\n      UNHEARD_OF: x\n", "UNHEARD_OF"),
        ("run-name: >-\n", "run-name: >-\n  ${{ secrets.X }}\n", "secrets"),
        ("model: ${{ inputs.model }}", "model: ${{ runner.os }}", "runner"),
        ("model: ${{ inputs.model }}", "model: ${{ inputs.modell }}", "modell"),
        ("model: ${{ inputs.model }}", "model: ${{ inputs.model", "}}"),
        ("    uses: ./.github", "    uses: owner/bridge/.github", "owner/bridge"),
        ("    uses: ./.github", "    used: ./.github", "used"),
    ],
)
def test_github_finds_what_is_wrong_in_a_caller(packages: Path, before: str, after: str, part: str) -> None:
    assert before in CALLER
    (found,) = validate(packages, {str(FILE): CALLER.replace(before, after)}).values()
    assert any(part in finding for finding in found), found


def test_github_finds_what_is_wrong_between_jobs_and_steps(packages: Path) -> None:
    (found,) = validate(packages, {CALLED: CALLED_BROKEN}).values()
    assert [finding.split(": ")[-1] for finding in found] == ["dome", "last", "sice"]


NAMES = [
    *(f"{name}.x" for name in ("github", "inputs", "vars", "GitHub", "INPUTS")),
    *(f"{name}.x" for name in ("env", "secrets", "needs", "jobs", "job", "steps", "runner", "strategy", "matrix")),
    *("true", "false", "null", "NaN", "Infinity", "TRUE", "True", "False", "NULL", "nan", "infinity", "x", "github-x"),
    *(
        "github.secrets.TRUE",
        "github.event.env",
        "github.true",
        "inputs['secrets']",
        "'secrets.x'",
        "'it''s secrets.x'",
    ),
    *("github[env.X]", "github.*.env", "!env.X", "1 < env.X", "1 != TRUE", "-1.5e3 >= 0x1F", "(github).env"),
    *(f"{name}()" for name in ("success", "failure", "always", "cancelled", "ALWAYS")),
    *("hashFiles('x')", "format('{0}', secrets.X)", "format('{0}', github.x)", "contains(github.x, 'a') && env.X"),
    *("startsWith(github.ref, TRUE)", "case(true, 'a', env.X)", "join(github.*, ',')", "toJSON(vars)"),
]


def test_a_name_that_github_rejects_in_a_runs_name_or_group_is_rejected(packages: Path) -> None:
    texts = {
        (
            key,
            name,
        ): f"on: push\n{key}: >-\n  ${{{{ github.x || {name} }}}}\njobs: {{x: {{runs-on: x, steps: [{{run: x}}]}}}}\n"
        for key in ("run-name", "concurrency")
        for name in NAMES
    }
    found = validate(packages, {f"{number}/{FILE}": text for number, text in enumerate(texts.values())})
    expected = {
        name for (_, name), findings in zip(texts, found.values(), strict=True) if "Unrecognized" in str(findings)
    }
    context = {"github": {"x": "x"}, "inputs": {}, "vars": {}}

    def is_rejected(name: str) -> bool:
        try:
            render(f"${{{{ github.x || {name} }}}}", context)
        except InvalidExpression as error:
            return isinstance(error, UnknownName)
        return False

    assert {name for name in NAMES if is_rejected(name)} == expected
    assert 20 < len(expected) < len(NAMES)
