"""The part of GitHub Actions expressions that `run-name` and `concurrency` of our workflows use.

That is: paths in contexts, strings, true, false and null, `==`, `&&`, `||`, parentheses, fromJSON and toJSON.
Source: GitHub's document "Evaluate expressions in workflows and actions".
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from bridge.core.errors import BridgeError

Context = Mapping[str, Any]
_Node = Callable[[Context], Any]

EXPRESSION = re.compile(r"\$\{\{((?:[^'}]|'(?:[^']|'')*'|\}(?!\}))*)\}\}")
"""A `${{ … }}` in a text; its first group is the text between the braces."""

_TOKEN = re.compile(
    r"\s*(?:'(?P<string>(?:[^']|'')*)'|(?P<number>[+-]?\.?\d[\w.+-]*)"
    r"|(?P<operator>\|\||&&|[=!<>]=|[().\[\],*!<>])|(?P<word>[A-Za-z_][A-Za-z0-9_-]*))",
    re.ASCII,
)
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_LITERALS = {"true": True, "false": False, "null": None, "NaN": math.nan, "Infinity": math.inf}
_NOT_HERE = {"always", "cancelled", "failure", "success", "hashfiles"}
"""Functions that GitHub only knows in some keys of jobs and steps."""


class InvalidExpression(BridgeError):
    """The text is not an expression that this module can evaluate."""


class UnknownName(InvalidExpression):
    """GitHub rejects the expression, because the context or function that it names doesn't exist where it is used."""


def render(text: str, context: Context) -> str:
    """Return `text` with each `${{ … }}` replaced by its value as a string; raises `InvalidExpression`."""
    if "${{" in EXPRESSION.sub("", text):
        raise InvalidExpression(f"the text {text!r} has a ${{{{ without }}}}")
    return EXPRESSION.sub(lambda match: as_string(evaluate(match[1], context)), text)


def evaluate(expression: str, context: Context) -> Any:
    """Return the value of one expression (without `${{ }}`): None, bool, number, str, list or dict.

    All of its names must be in `context`, also those in a part that isn't evaluated. Raises `InvalidExpression`.
    """
    try:
        return _Parser(expression, context).parse()(context)
    except RecursionError as error:
        raise InvalidExpression("an expression is nested too deeply") from error


def is_true(value: Any) -> bool:
    """Whether GitHub takes `value` for true: anything but false, 0, NaN, the empty string and null."""
    return isinstance(value, Mapping | list) or bool(value and value == value)


def as_string(value: Any) -> str:
    """Convert as GitHub does: null is empty, a list reads `Array`, an object `Object`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return (
            format(value, ".15g")
            if math.isfinite(value)
            else str(value).replace("nan", "NaN").replace("inf", "Infinity")
        )
    return value if isinstance(value, str) else "Array" if isinstance(value, list) else "Object"


def _as_number(value: Any) -> float:
    if value is None or isinstance(value, bool | int | float):
        return float(value or 0)
    text = value.strip() if isinstance(value, str) else "an object"
    if _INTEGER.fullmatch(text):
        return float(int(text, 0))
    return float(text or 0) if not text or _DECIMAL.fullmatch(text) else math.nan


def _equal(left: Any, right: Any) -> bool:
    """Compare strings without case, values of different types as numbers, and objects by identity."""
    if isinstance(left, str) and isinstance(right, str):
        return left.upper() == right.upper()
    if isinstance(left, list | Mapping) and isinstance(right, list | Mapping):
        return left is right
    return _as_number(left) == _as_number(right)


def _member(name: str, value: Any) -> Any:
    """Return the property of that name, which ignores case; null if it is missing."""
    properties = value.items() if isinstance(value, Mapping) else ()
    return next((content for key, content in properties if key.upper() == name.upper()), None)


def _from_json(text: Any) -> Any:
    try:
        return json.loads(as_string(text))
    except ValueError as error:
        raise InvalidExpression(f"fromJSON() can't parse its argument ({error})") from error


_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "fromjson": _from_json,
    "tojson": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
}


class _Parser:
    """Turns an expression into a function of its context, in which `&&` and `||` evaluate only what they need."""

    def __init__(self, expression: str, names: Collection[str]) -> None:
        self._expression = expression.strip()
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(self._expression):
            token = _TOKEN.match(self._expression, position)
            if not token or token.lastgroup is None:
                raise self._unsupported()
            self._tokens.append((token.lastgroup, token[token.lastgroup]))
            position = token.end()
        self._check_names(names)
        self._tokens.reverse()

    def _check_names(self, names: Collection[str]) -> None:
        """Raise `UnknownName` if there is one, even if something else can't be evaluated here."""
        neighbours = zip([None, *self._tokens], self._tokens, [*self._tokens[1:], None], strict=False)
        for before, (kind, word), after in neighbours:
            if kind != "word" or before == ("operator", "."):
                continue
            if after == ("operator", "("):
                unknown = word.lower() in _NOT_HERE
            else:
                unknown = word not in _LITERALS and word.lower() not in names
            if unknown:
                raise UnknownName(f"the expression {self._expression!r} uses {word}, which GitHub doesn't know there")

    def _unsupported(self) -> InvalidExpression:
        return InvalidExpression(f"the expression {self._expression!r} can't be evaluated here")

    def _next_is(self, operator: str) -> bool:
        if not self._tokens or self._tokens[-1] != ("operator", operator):
            return False
        self._tokens.pop()
        return True

    def _pop(self, kind: str) -> str:
        if not self._tokens or self._tokens[-1][0] != kind:
            raise self._unsupported()
        return self._tokens.pop()[1]

    def parse(self) -> _Node:
        node = self._operation(0)
        if self._tokens:
            raise self._unsupported()
        return node

    def _operation(self, level: int) -> _Node:
        if level == len(_OPERATORS):
            return self._value()
        operator, combine = _OPERATORS[level]
        node = self._operation(level + 1)
        while self._next_is(operator):
            node = combine(node, self._operation(level + 1))
        return node

    def _value(self) -> _Node:
        if self._next_is("("):
            node = self._closed()
        elif self._tokens and self._tokens[-1][0] == "string":
            node = _constant(self._pop("string").replace("''", "'"))
        else:
            word = self._pop("word")
            if self._next_is("("):
                if word.lower() not in _FUNCTIONS:
                    raise self._unsupported()
                node = _call(_FUNCTIONS[word.lower()], self._closed())
            else:
                node = _constant(_LITERALS[word]) if word in _LITERALS else _context(word.lower())
        while self._next_is("."):
            node = _call(partial(_member, self._pop("word")), node)
        return node

    def _closed(self) -> _Node:
        node = self._operation(0)
        if not self._next_is(")"):
            raise self._unsupported()
        return node


def _context(name: str) -> _Node:
    return lambda context: context[name]


def _constant(value: Any) -> _Node:
    return lambda _: value


def _call(function: Callable[[Any], Any], argument: _Node) -> _Node:
    return lambda context: function(argument(context))


_OPERATORS: tuple[tuple[str, Callable[[_Node, _Node], _Node]], ...] = (
    ("||", lambda left, right: lambda context: value if is_true(value := left(context)) else right(context)),
    ("&&", lambda left, right: lambda context: right(context) if is_true(value := left(context)) else value),
    ("==", lambda left, right: lambda context: _equal(left(context), right(context))),
)
"""From the loosest to the tightest."""
