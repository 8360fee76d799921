"""GitHub Actions expressions, as far as `run-name` and `concurrency` use them.

Source: GitHub's document "Evaluate expressions in workflows and actions": literals, operators, loose equality, casting,
the functions contains, startsWith, endsWith, format, join, toJSON and fromJSON. Object filters (`.*`) are not taken.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.core.errors import BridgeError

Context = Mapping[str, Any]
Node = Callable[[Context], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))|'(?P<string>(?:[^']|'')*)'"
    r"|(?P<operator>\|\||&&|==|!=|<=|>=|[!<>().,\[\]])|(?P<word>[A-Za-z_][A-Za-z0-9_-]*))"
)
EXPRESSION = re.compile(r"\$\{\{((?:[^'}]|'(?:[^']|'')*'|\}(?!\}))*)\}\}")
"""A `${{ … }}` in a text; its first group is what stands between the braces."""
_NUMBER = re.compile(r"-?(?:0x[0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)")
_LITERALS = {"true": True, "false": False, "null": None}


class InvalidExpression(BridgeError):
    """The text is no expression that GitHub would take, or a function in it can't work on its arguments."""


def render(text: str, context: Context) -> str:
    """Give `text` with each `${{ … }}` replaced by its value as a string; raises `InvalidExpression`."""
    if "${{" in EXPRESSION.sub("", text):
        raise InvalidExpression(f"the text {text!r} opens an expression with ${{{{ and doesn't close it")
    return EXPRESSION.sub(lambda part: as_string(evaluate(part[1], context)), text)


def evaluate(expression: str, context: Context) -> Any:
    """Give the value of one expression (without `${{ }}`): None, bool, number, str, list or dict."""
    return _Parser(expression).parse()(context)


def is_true(value: Any) -> bool:
    """Tell whether GitHub takes `value` for true: all but false, 0, NaN, the empty string and null."""
    return isinstance(value, Mapping | list) or bool(value and value == value)


def as_string(value: Any) -> str:
    """Cast as GitHub does: null is empty, a list reads `Array`, an object `Object`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return format(value, ".15g") if math.isfinite(value) else str(value).replace("nan", "NaN")
    return value if isinstance(value, str) else "Array" if isinstance(value, list) else "Object"


def _as_number(value: Any) -> float:
    if value is None or value == "":
        return 0
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return _number(value.strip())
    return math.nan


def _number(text: str) -> float:
    return float(int(text, 16)) if "0x" in text else float(text)


def _pair(left: Any, right: Any) -> tuple[Any, Any]:
    """Give both sides as what GitHub compares: strings without case, else numbers."""
    if isinstance(left, str) and isinstance(right, str):
        return left.upper(), right.upper()
    return _as_number(left), _as_number(right)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, list | Mapping) and isinstance(right, list | Mapping):
        return left is right
    one, other = _pair(left, right)
    return bool(one == other)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": lambda left, right: _pair(left, right)[0] < _pair(left, right)[1],
    "<=": lambda left, right: _pair(left, right)[0] <= _pair(left, right)[1],
    ">": lambda left, right: _pair(left, right)[0] > _pair(left, right)[1],
    ">=": lambda left, right: _pair(left, right)[0] >= _pair(left, right)[1],
}


def _contains(search: Any, item: Any) -> bool:
    if isinstance(search, list):
        return any(_equal(each, item) for each in search)
    return as_string(item).upper() in as_string(search).upper()


def _format(template: Any, *values: Any) -> str:
    def fill(part: re.Match[str]) -> str:
        if part[0] in ("{{", "}}"):
            return part[0][0]
        if part[1] is None or int(part[1]) >= len(values):
            raise InvalidExpression(f"format() can't fill {part[0]!r}: it got {len(values)} values")
        return as_string(values[int(part[1])])

    return re.sub(r"\{\{|\}\}|\{(\d+)\}|[{}]", fill, as_string(template))


def _join(items: Any, separator: Any = ",") -> str:
    return as_string(separator).join(map(as_string, items)) if isinstance(items, list) else as_string(items)


def _from_json(text: Any) -> Any:
    try:
        return json.loads(as_string(text))
    except ValueError as error:
        raise InvalidExpression(f"fromJSON() can't read its text: {error}") from error


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": _contains,
    "startswith": lambda text, start: as_string(text).upper().startswith(as_string(start).upper()),
    "endswith": lambda text, end: as_string(text).upper().endswith(as_string(end).upper()),
    "format": _format,
    "join": _join,
    "tojson": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    "fromjson": _from_json,
}


def _call(name: str, arguments: Sequence[Node]) -> Node:
    function = _FUNCTIONS.get(name.lower())
    if function is None:
        raise InvalidExpression(f"the function {name!r} is unknown here: known are {', '.join(_FUNCTIONS)}")

    def call(context: Context) -> Any:
        try:
            return function(*(argument(context) for argument in arguments))
        except TypeError as error:
            raise InvalidExpression(f"{name}() got {len(arguments)} arguments: {error}") from error

    return call


def _member(value: Any, key: Any) -> Any:
    """Give a property (names ignore case) or an item; what is missing is null."""
    if isinstance(value, Mapping):
        wanted = as_string(key).upper()
        return next((item for name, item in value.items() if name.upper() == wanted), None)
    if isinstance(value, list):
        index = _as_number(key)
        return value[int(index)] if 0 <= index < len(value) else None
    return None


def _either(left: Node, right: Node) -> Node:
    return lambda context: value if is_true(value := left(context)) else right(context)


def _both(left: Node, right: Node) -> Node:
    return lambda context: right(context) if is_true(value := left(context)) else value


def _applied(function: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    return lambda context: function(left(context), right(context))


class _Parser:
    """Turns an expression into a function of its context; `||` binds least, then `&&`, equality, order, `!`, access."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = list(self._read(expression.rstrip()))
        self._position = 0

    def _read(self, text: str) -> Any:
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found or found.lastgroup is None:
                raise self._wrong(f"at {text[position:].strip()!r}")
            yield found.lastgroup, found[found.lastgroup]
            position = found.end()

    def _wrong(self, why: str) -> InvalidExpression:
        return InvalidExpression(f"the expression {self._expression.strip()!r} can't be read {why}")

    def parse(self) -> Node:
        node = self._either()
        if self._position < len(self._tokens):
            raise self._wrong(f"at {self._tokens[self._position][1]!r}")
        return node

    def _take(self, *operators: str) -> str | None:
        if self._position < len(self._tokens):
            kind, text = self._tokens[self._position]
            if kind == "operator" and text in operators:
                self._position += 1
                return str(text)
        return None

    def _expect(self, operator: str) -> None:
        if not self._take(operator):
            raise self._wrong(f"without {operator!r}")

    def _either(self) -> Node:
        node = self._both()
        while self._take("||"):
            node = _either(node, self._both())
        return node

    def _both(self) -> Node:
        node = self._compare(self._order, "==", "!=")
        while self._take("&&"):
            node = _both(node, self._compare(self._order, "==", "!="))
        return node

    def _order(self) -> Node:
        return self._compare(self._negation, "<", "<=", ">", ">=")

    def _compare(self, operand: Callable[[], Node], *operators: str) -> Node:
        node = operand()
        while operator := self._take(*operators):
            node = _applied(_COMPARISONS[operator], node, operand())
        return node

    def _negation(self) -> Node:
        if self._take("!"):
            operand = self._negation()
            return lambda context: not is_true(operand(context))
        return self._access()

    def _access(self) -> Node:
        node = self._atom()
        while operator := self._take(".", "["):
            node = _applied(_member, node, self._property() if operator == "." else self._either())
            if operator == "[":
                self._expect("]")
        return node

    def _property(self) -> Node:
        kind, text = self._next()
        if kind != "word":
            raise self._wrong(f"at {text!r}")
        return lambda _: text

    def _next(self) -> tuple[str, str]:
        if self._position >= len(self._tokens):
            raise self._wrong("to its end")
        self._position += 1
        kind, text = self._tokens[self._position - 1]
        return kind, text

    def _atom(self) -> Node:
        kind, text = self._next()
        if kind == "operator":
            if text != "(":
                raise self._wrong(f"at {text!r}")
            node = self._either()
            self._expect(")")
            return node
        if kind == "word":
            return self._word(text)
        value = _number(text) if kind == "number" else text.replace("''", "'")
        return lambda _: value

    def _word(self, text: str) -> Node:
        if self._take("("):
            return _call(text, self._arguments())
        if text in _LITERALS:
            return lambda _: _LITERALS[text]
        return lambda context: _member(context, text)

    def _arguments(self) -> list[Node]:
        arguments: list[Node] = []
        while not self._take(")"):
            if arguments:
                self._expect(",")
            arguments.append(self._either())
        return arguments
