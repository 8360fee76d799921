"""Reads a model's YAML so that it can neither expand nor construct anything but plain values.

Whoever logs a model controls its files. MLflow writes them with `yaml.safe_dump` and reads them with `yaml.safe_load`;
text that is accepted here means the same to both.
"""

import yaml

from bridge.core import limits
from bridge.image.errors import UnsafeMetadata

_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{kind}" for kind in ("bool", "float", "int", "null", "str", "timestamp")}


def mapping(file: str, text: str) -> dict[object, object]:
    """Return the map in `text`, the content of the model's file called `file`.

    Raises `UnsafeMetadata`, which names the file, if `text` isn't one map of plain values within the limits.
    """
    try:
        if problem := _problem(text):
            raise UnsafeMetadata(f"{file} {problem}", "log the model without it")
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
        raise UnsafeMetadata(f"{file} can't be read as YAML", "log the model again") from error
    if not isinstance(value, dict):
        raise UnsafeMetadata(f"{file} is not a YAML mapping", "log the model again")
    return value


def _problem(text: str) -> str:
    """Return the first forbidden construct in `text`, empty if there is none; nothing is constructed from the text."""
    resolver = yaml.resolver.Resolver()
    nodes = depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if not isinstance(event, yaml.AliasEvent | yaml.ScalarEvent | yaml.CollectionStartEvent):
            continue
        nodes += 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            return "has an anchor or an alias"
        if event.tag is not None:
            return "has a tag"
        if isinstance(event, yaml.ScalarEvent):
            event.value.encode()  # an escape can stand for half a surrogate pair
            tag = resolver.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
            if tag not in _PLAIN:
                return "has a merge key or another special value"
            if tag != f"{_TAG}str" and len(event.value) > limits.MAX_YAML_NUMBER:
                return f"has a number or date of {len(event.value):,} characters"
        else:
            depth += 1
        if nodes > limits.MAX_YAML_VALUES or depth > limits.MAX_YAML_DEPTH:
            return f"has more than {limits.MAX_YAML_VALUES:,} values or {limits.MAX_YAML_DEPTH} nested levels"
    return ""
