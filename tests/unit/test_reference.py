"""The reference page says what the code does."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_setting_input_and_message_is_on_the_reference_page_as_the_code_has_it() -> None:
    written = (DOCS / "reference.md").read_text()
    assert written == runpy.run_path(str(DOCS / "reference.py"))["page"](), "write it anew by `make docs`"
    assert written.count("\n| ") > 60
