from pathlib import Path

import pytest

from tests.loopback.runner.actions import Action, replacements_for, used

SHA = "3d3c42e5aac5ba805825da76410c181273ba90b1"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        ".github/workflows/caller.yml": "jobs: {a: {uses: ./.github/workflows/called.yml}}",
        ".github/workflows/called.yml": f"""\
jobs:
  a:
    steps:
      - uses: actions/checkout@{SHA}
      - uses: ./actions/local
      - uses: docker://alpine:3
      - run: echo ok
""",
        ".github/workflows/other.yml": "jobs: {a: {steps: [{uses: far/away@v1}]}}",
        "actions/local/action.yml": "runs: {using: composite, steps: [{uses: some/mono/deep/action@v2}]}",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_actions_are_found_through_called_workflows_and_local_actions_and_nowhere_else(tree: Path) -> None:
    found = used(tree, ".github/workflows/caller.yml")
    assert sorted(map(str, found)) == [f"actions/checkout@{SHA}", "some/mono/deep/action@v2"]


def test_a_stand_in_replaces_the_whole_repository_at_its_pin(tree: Path, tmp_path: Path) -> None:
    place = tmp_path / "stand-ins/some/mono/deep/action"
    place.mkdir(parents=True)
    (place / "action.yaml").touch()
    found, missing = replacements_for(used(tree, ".github/workflows/caller.yml"), tmp_path / "stand-ins")
    assert found == {"some/mono@v2": tmp_path / "stand-ins/some/mono"}
    assert missing == [Action("actions/checkout", "", SHA)]
