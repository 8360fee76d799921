"""The evaluator of expressions against GitHub's own, which is a package for Node.js."""

from pathlib import Path
from typing import Any

from bridge.github.expressions import as_string, evaluate, is_true
from tests.integration import actions_packages

CONTEXT: dict[str, Any] = {
    "github": {
        "event": {
            "client_payload": {"dispatch_id": "01J", "model": {"name": "Iris Clf 模", "version": "7", "alias": None}},
            "inputs": {"payload": '{"dispatch_id": "02K", "list": [1], "empty": ""}'},
        },
        "event_name": "repository_dispatch",
    },
    "inputs": {"model": "", "dry-run": False, "zero": "0", "seven": 7, "half": 0.5, "true": "true", "space": " "},
    "vars": {},
}

PATHS = [
    "github.event.client_payload.dispatch_id",
    "GITHUB.Event.client_payload.MODEL.name",
    "github.event.client_payload.model.alias",
    "github.event.client_payload.nothing.below",
    "github.event.client_payload.dispatch_id.below",
    "github.event",
    "vars",
    "vars.MISSING",
    *(f"inputs.{name}" for name in CONTEXT["inputs"]),
]
LITERALS = [
    "''",
    "'0'",
    "'x'",
    "'7'",
    "'.5'",
    "' 7 '",
    "'7.'",
    "'-7'",
    "'1e3'",
    "'Infinity'",
    "'TRUE'",
    "true",
    "false",
    "null",
]
LISTED = [
    "'it''s'",
    "fromJSON(github.event.inputs.payload).dispatch_id",
    "fromJSON(github.event.inputs.payload).list",
    "fromJSON(github.event.inputs.payload).list.x",
    "fromJSON(inputs.payload || '{}').dispatch_id || 'manual:'",
    "toJSON(github.event.client_payload.model)",
    "toJSON(fromJSON('[1, 2.5, \"a\", null, true, {}, []]'))",
    "toJSON(inputs.model)",
    "inputs.model && fromJSON(inputs.model)",
    "'a' || 'b' && ''",
    "('a' || 'b') && ''",
    "'a' == 'b' || 'c' == 'C'",
    "'a' == 'a' == true",
    "github.event == github.event",
    *("NaN", "Infinity", "NaN == NaN", "Infinity == Infinity", "github.true", "github.NaN"),
    *(f"inputs.seven == '{text}'" for text in ("7", " 7 ", "7.", "7.0", "70e-1", "0x7", "0o7", "+7", "7x", "٧")),
    "fromJSON('{}') == fromJSON('{}')",
    "fromJSON('7') == '7'",
    "fromJSON('1e21')",
    "fromJSON('0.1')",
    "fromJSON('-0')",
    "fromJSON('123456789012345')",
]
EXPRESSIONS = [
    *PATHS,
    *LITERALS,
    *LISTED,
    *(f"{left} == {right}" for left in [*PATHS, *LITERALS] for right in LITERALS),
]


def test_expressions_have_the_same_value_as_at_github(packages: Path) -> None:
    content = {"expressions": EXPRESSIONS, "context": CONTEXT}
    expected: list[list[str]] = actions_packages.run(packages, "evaluate.js", content)

    def ours(expression: str) -> list[str]:
        value: Any = evaluate(expression, CONTEXT)
        return [as_string(value), as_string(is_true(value))]

    assert {expression: ours(expression) for expression in EXPRESSIONS} == dict(zip(EXPRESSIONS, expected, strict=True))
