import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.github.expressions import InvalidExpression, as_string, evaluate, is_true, render

CONTEXT = {
    "github": {
        "event": {"client_payload": {"dispatch_id": "01J", "model": {"name": "Iris Clf"}, "list": ["a", "B"]}},
        "event_name": "repository_dispatch",
    },
    "inputs": {"model": "", "dry-run": False},
    "vars": {},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("github.event.client_payload.dispatch_id", "01J"),
        ("GitHub.Event['CLIENT_payload'].model.name", "Iris Clf"),
        ("github.event.client_payload.list[1]", "B"),
        ("github.event.client_payload.list[2]", None),
        ("github.event.nothing.below.it", None),
        ("inputs.dry-run", False),
        ("inputs.model || github.event.client_payload.dispatch_id || 'none'", "01J"),
        ("inputs.model && 'set'", ""),
        ("'it''s'", "it's"),
        ("0xff", 255.0),
        ("-1.5e1", -15.0),
        ("!inputs.model", True),
        ("!(true && false) && !false", True),
        ("1 == 1 && 2 != 3 || false", True),
        ("1 < 2 == true", True),
    ],
)
def test_an_expression_has_the_value_that_githubs_document_gives_it(expression: str, value: object) -> None:
    assert evaluate(expression, CONTEXT) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'ABC' == 'abc'", True),
        ("null == 0", True),
        ("true == 1", True),
        ("'' == 0", True),
        ("'0x10' == 16", True),
        ("'x' == 0", False),
        ("'x' < 1 || 'x' >= 1", False),
        ("'a' < 'B'", True),
        ("2 >= '2'", True),
        ("fromJSON('[]') == fromJSON('[]')", False),
        ("github.event == github.event", True),
    ],
)
def test_comparisons_are_loose_and_ignore_case(expression: str, value: bool) -> None:
    assert evaluate(expression, CONTEXT) is value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("contains('Hello', 'ELL')", True),
        ("contains(github.event.client_payload.list, 'b')", True),
        ("contains(github.event.client_payload.list, 'ab')", False),
        ("startsWith('Hello', 'he') && endsWith('Hello', 'LO')", True),
        ("format('{{{0}}}-{1}', 'a', 2)", "{a}-2"),
        ("join(github.event.client_payload.list, '/')", "a/B"),
        ("join(github.event.client_payload.list)", "a,B"),
        ("fromJSON('{\"a\": [1]}').a[0]", 1),
        ("toJSON(fromJSON('{\"a\":1}'))", '{\n  "a": 1\n}'),
    ],
)
def test_a_function_works_as_githubs_document_says(expression: str, value: object) -> None:
    assert evaluate(expression, CONTEXT) == value


def test_what_need_not_be_looked_at_is_not_evaluated() -> None:
    assert evaluate("inputs.model && fromJSON(inputs.model)", CONTEXT) == ""


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "a b",
        "(a",
        "a.",
        "a[1",
        "'open",
        "unknown()",
        "contains('a')",
        "fromJSON('{')",
        "format('{1}', 'a')",
        "a ? b",
    ],
)
def test_what_github_would_not_take_is_refused(expression: str) -> None:
    with pytest.raises(InvalidExpression):
        evaluate(expression, CONTEXT)


@given(st.text("ab01 .'\"()[]{}!=<>&|,-$", max_size=20))
def test_any_text_gives_a_value_or_our_error(text: str) -> None:
    with contextlib.suppress(InvalidExpression):
        render(f"${{{{ {text} }}}}", CONTEXT)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain", "plain"),
        ("${{ github.event_name }}: ${{ github.event.client_payload.model.name }}", "repository_dispatch: Iris Clf"),
        ("${{ '}}' }}${{ format('{0}', 1) }}", "}}1"),
        ("[${{ null }}|${{ true }}|${{ 1.50 }}|${{ github.event }}]", "[|true|1.5|Object]"),
    ],
)
def test_a_text_gets_the_values_of_its_expressions(text: str, rendered: str) -> None:
    assert render(text, CONTEXT) == rendered


def test_an_expression_that_is_not_closed_is_refused() -> None:
    with pytest.raises(InvalidExpression, match="doesn't close"):
        render("${{ github.event_name", CONTEXT)


@pytest.mark.parametrize("value", [None, False, 0, -0.0, "", math.nan])
def test_only_githubs_five_falsy_values_are_false(value: Any) -> None:
    assert not is_true(value)
    assert all(map(is_true, ["0", "false", [], {}, 1, -1]))


def test_numbers_read_as_in_javascript() -> None:
    assert [as_string(value) for value in (1.0, 0.1, 1795315490157, math.nan, True)] == [
        "1",
        "0.1",
        "1795315490157",
        "NaN",
        "true",
    ]
