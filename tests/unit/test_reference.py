"""The reference page describes every setting, input and secret."""

import runpy
from pathlib import Path

import pytest
import yaml

from bridge.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
WORKFLOWS = DOCS.parent / ".github" / "workflows"


def names() -> set[str]:
    names = {name.upper() for name in Settings.model_fields}
    for workflow in ("model-image.yml", "on-mlflow-event.yml"):
        for trigger in yaml.safe_load((WORKFLOWS / workflow).read_text())[True].values():
            names |= {*(trigger.get("inputs") or {}), *(trigger.get("secrets") or {})}
    return names


@pytest.mark.parametrize(
    "page",
    [
        pytest.param((DOCS / "reference.md").read_text(), id="as it is"),
        pytest.param(runpy.run_path(str(DOCS / "reference.py"))["page"](), id="as make docs writes it"),
    ],
)
def test_every_setting_input_and_secret_is_on_the_page(page: str) -> None:
    assert len(names()) > 50
    assert {name for name in names() if f"`{name}`" not in page} == set()


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
