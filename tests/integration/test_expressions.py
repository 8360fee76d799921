"""The evaluator of expressions against GitHub's own, which is a package for Node.js."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bridge.github.expressions import as_string, evaluate, is_true

VERSION = "0.3.61"
INTEGRITY = "sha512-Ig+tXELvTjlqxQAWBQnLNn2dPpNraLMdSnT+vDzDPmJtbNUhIAH/Z9kVT8pZ8UtJi9vUGs8hwHE8JFJmbOnLEA=="

SCRIPT = """
import {readFileSync} from "node:fs";
import {Evaluator, Lexer, Parser, data} from "@actions/expressions";
import {reviver} from "@actions/expressions/data/reviver";
const {expressions, context} = JSON.parse(readFileSync(0, "utf8"));
const values = JSON.parse(JSON.stringify(context), reviver);
console.log(JSON.stringify(expressions.map((expression) => {
  const tokens = new Lexer(expression).lex().tokens;
  const value = new Evaluator(new Parser(tokens, Object.keys(context), []).parse(), values).evaluate();
  const truth = new Evaluator(new Parser(new Lexer(`(${expression}) && true || false`).lex().tokens,
    Object.keys(context), []).parse(), values).evaluate();
  return [value.coerceString(), truth.coerceString()];
})));
"""

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


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with GitHub's package, installed by its hash."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("package")
    dependencies = {"@actions/expressions": VERSION}
    locked = {"version": VERSION, "integrity": INTEGRITY}
    packages = {"": {"dependencies": dependencies}, "node_modules/@actions/expressions": locked}
    (folder / "package.json").write_text(json.dumps({"dependencies": dependencies, "type": "module"}))
    (folder / "package-lock.json").write_text(json.dumps({"lockfileVersion": 3, "packages": packages}))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm can't install @actions/expressions: {done.stderr}")
    return folder


def test_expressions_have_the_same_value_as_at_github(package: Path) -> None:
    (package / "evaluate.js").write_text(SCRIPT)
    asked = json.dumps({"expressions": EXPRESSIONS, "context": CONTEXT})
    done = subprocess.run(
        ["node", "evaluate.js"], cwd=package, input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected: list[list[str]] = json.loads(done.stdout)

    def ours(expression: str) -> list[str]:
        value: Any = evaluate(expression, CONTEXT)
        return [as_string(value), as_string(is_true(value))]

    assert {expression: ours(expression) for expression in EXPRESSIONS} == dict(zip(EXPRESSIONS, expected, strict=True))
