"""Untrusted text and JSON, in a form that any database can store and any terminal can show."""

import json
import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from bridge.core.limits import MAX_INTEGER_DIGITS, MAX_TEXT

_SPACES: Final = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters (PostgreSQL stores all of them except NUL) and surrogates, which UTF-8 can't encode."""


def clean(text: str) -> str:
    """Return the text as one line of at most `MAX_TEXT` characters, with `�` for those that can't be stored or shown.

    Characters are replaced, not removed, so that the text can't become one with another meaning.
    """
    safe = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", _SPACES.sub(" ", text[: MAX_TEXT + 1]))
    return safe if len(safe) <= MAX_TEXT else f"{safe[: MAX_TEXT - 1]}…"


Text = Annotated[str, BeforeValidator(lambda value: clean(value) if isinstance(value, str) else value)]
"""Any untrusted text except the name of a model, version or alias, which is never changed."""


def read_json(content: bytes | str) -> Any:
    """Parse the JSON; raises only `ValueError`.

    An integer of more than 64 bits becomes None, so that only the entry that contains it is invalid.
    """
    text = content if isinstance(content, str) else content.decode("utf-8-sig", "replace")
    try:
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= MAX_INTEGER_DIGITS else None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
