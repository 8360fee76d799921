import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.github.expressions import InvalidExpression, UnknownName, as_string, evaluate, is_true, render

CONTEXT = {
    "github": {
        "event": {"client_payload": {"dispatch_id": "01J", "model": {"name": "Iris Clf"}}},
        "event_name": "repository_dispatch",
    },
    "inputs": {"model": "", "dry-run": False},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("github.event.client_payload.dispatch_id", "01J"),
        ("GitHub.Event.CLIENT_payload.model.name", "Iris Clf"),
        ("github.event.nothing.below.it", None),
        ("inputs.dry-run", False),
        ("inputs.model || github.event.client_payload.dispatch_id || 'none'", "01J"),
        ("inputs.model && 'set'", ""),
        ("inputs.model && fromJSON(inputs.model)", ""),
        ("'it''s'", "it's"),
        ("'a' == 'A' && 'b' == 'b' || 'c'", True),
        ("('' || fromJSON('{\"a\": {\"b\": 1}}')).a.b", 1),
        ("toJSON(fromJSON('{\"a\":1}'))", '{\n  "a": 1\n}'),
    ],
)
def test_an_expression_has_the_value_of_githubs_documentation(expression: str, value: object) -> None:
    assert evaluate(expression, CONTEXT) == value


@pytest.mark.parametrize(
    "expression",
    [
        *("", "a b", "(", "github.", "github.event[1", "'open", "unknown()", "fromJSON()", "fromJSON('{')", "a ? b"),
        *("format('{0}', 'a')", "1", "!inputs.model", "secrets.TOKEN", "github.*", "(" * 100_000),
    ],
)
def test_an_expression_that_is_invalid_or_not_supported_is_refused(expression: str) -> None:
    with pytest.raises(InvalidExpression):
        evaluate(expression, CONTEXT)


@pytest.mark.parametrize("expression", ["secrets.X", "TRUE", "format('{0}', env.X)", "github[job.x]", "failure()"])
def test_a_name_that_does_not_exist_is_refused_wherever_it_is(expression: str) -> None:
    for whole in (expression, f"'a' || {expression}", f"contains({expression}, 'x')"):
        with pytest.raises(UnknownName):
            evaluate(whole, CONTEXT)


@given(st.text("ab01 .'\"()[]{}!=<>&|,-$", max_size=20))
def test_any_text_has_a_value_or_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidExpression):
        render(f"${{{{ {text} }}}}", CONTEXT)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain", "plain"),
        ("${{ github.event_name }}: ${{ github.event.client_payload.model.name }}", "repository_dispatch: Iris Clf"),
        ("${{ '}}' }}${{ 'a' }}", "}}a"),
        ("[${{ null }}|${{ true }}|${{ fromJSON('1.50') }}|${{ github.event }}]", "[|true|1.5|Object]"),
    ],
)
def test_each_expression_in_a_text_is_replaced_by_its_value(text: str, rendered: str) -> None:
    assert render(text, CONTEXT) == rendered


def test_an_expression_that_is_not_closed_is_refused() -> None:
    with pytest.raises(InvalidExpression):
        render("${{ github.event_name", CONTEXT)


@pytest.mark.parametrize("value", [None, False, 0, -0.0, "", math.nan])
def test_only_githubs_five_falsy_values_are_false(value: Any) -> None:
    assert not is_true(value)
    assert all(map(is_true, ["0", "false", [], {}, 1, -1]))


def test_numbers_read_as_in_javascript() -> None:
    numbers = (1.0, 0.1, 1795315490157, math.nan, True)
    assert [as_string(value) for value in numbers] == ["1", "0.1", "1795315490157", "NaN", "true"]
