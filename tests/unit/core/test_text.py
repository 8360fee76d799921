import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.limits import MAX_TEXT
from bridge.core.text import clean, read_json


@pytest.mark.parametrize("text", ["", "模型 (EU) é 🚀", "ghcr.io/a/b@sha256:1", "x" * MAX_TEXT])
def test_harmless_text_is_unchanged(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("bad", ["\0", "\x1b", "\x7f", "\x9b", "\ud800"])
def test_characters_that_cannot_be_stored_or_shown_are_replaced(bad: str) -> None:
    assert clean(f"a{bad}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("space", ["\n", "\r", "\t", "\v", "\x85", "\u2028"])
def test_text_is_one_line(space: str) -> None:
    assert clean(f"a{space}b") == "a b"


def test_long_text_is_cut() -> None:
    assert len(clean("x" * 10_000_000)) == MAX_TEXT


@given(st.text(st.characters()))
def test_no_character_is_removed(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    cleaned.encode()


@pytest.mark.parametrize("deep", [b"[" * 1_000_000, b'{"a":' * 1_000_000, b"", b"<html>", b"[1"])
def test_anything_but_json_is_a_value_error(deep: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(deep)


def test_only_the_integer_that_is_too_large_becomes_none() -> None:
    digits = "9" * 6_000
    assert read_json(f'{{"a": {digits}, "b": -{digits}, "c": 9007199254740993}}') == {
        "a": None,
        "b": None,
        "c": 9007199254740993,
    }


@given(st.binary())
def test_no_bytes_raise_anything_but_a_value_error(content: bytes) -> None:
    try:
        json.dumps(read_json(content))
    except ValueError:
        return
