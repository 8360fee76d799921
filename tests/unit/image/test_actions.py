import html
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.image import actions


def test_an_annotation_is_one_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    actions.error("a:b,c", "100%\n::add-mask::x\r")
    assert capsys.readouterr().out == "::error title=a%3Ab%2Cc::100%25%0A::add-mask::x%0D\n"


def test_an_annotation_has_the_hint_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    actions.error("t", "what happened", "what to do")
    assert capsys.readouterr().out == "::error title=t::what happened%0AFix: what to do\n"


@given(st.text())
def test_escaped_text_is_neither_markdown_nor_html(text: str) -> None:
    escaped = actions.escape(text)
    assert html.unescape(escaped) == text or not text.isprintable()
    assert set("|`<>[]()*_!~\n\r").isdisjoint(escaped)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.just("##[add-mask]true"))
def test_a_line_of_ours_never_starts_a_command(text: str) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda line, **_: lines.append(line))
        actions.log(text)
    assert len(lines) == 1
    assert len(lines[0].splitlines()) <= 1
    assert lines[0].startswith("  ")
    assert "##[" not in lines[0]


def test_an_output_can_not_end_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    actions.output("version", "1\nbuild=true\nEOF")
    name, delimiter = file.read_text().splitlines()[0].split("<<")
    assert name == "version"
    assert file.read_text() == f"version<<{delimiter}\n1\nbuild=true\nEOF\n{delimiter}\n"
    assert re.fullmatch("end-[0-9a-f]{32}", delimiter)


def test_commands_are_stopped_while_others_print(capsys: pytest.CaptureFixture[str]) -> None:
    with actions.untrusted_output():
        print("::error::from the model")
    first, printed, empty, last = capsys.readouterr().out.splitlines()
    token = first.removeprefix("::stop-commands::")
    assert (printed, empty, last) == ("::error::from the model", "", f"::{token}::")
    assert re.fullmatch("[0-9a-f]{32}", token)


def test_commands_work_again_after_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), actions.untrusted_output():
        raise RuntimeError
    first, _, last = capsys.readouterr().out.splitlines()
    assert last == f"::{first.removeprefix('::stop-commands::')}::"
