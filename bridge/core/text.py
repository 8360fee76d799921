"""Untrusted text and JSON, in a form that any database can store and any terminal can show."""

import json
import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

LONGEST: Final = 4096
"""Characters of one text. MLflow's own columns hold 500 characters of a source, and addresses in practice fewer."""

_SPACES: Final = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, all of which but NUL PostgreSQL can store, and halves of surrogate pairs, which have no UTF-8."""

_DIGITS: Final = 19
"""Digits of the largest integer that fits into 64 bits in a database."""


def clean(text: str) -> str:
    """Give the text in one line of at most `LONGEST` characters, with `�` for characters that can't be stored or shown.

    Characters are replaced and never removed, so that the text can't change into one that means something else.
    """
    safe = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", _SPACES.sub(" ", text[: LONGEST + 1]))
    return safe if len(safe) <= LONGEST else f"{safe[: LONGEST - 1]}…"


Text = Annotated[str, BeforeValidator(lambda value: clean(value) if isinstance(value, str) else value)]
"""Any untrusted text except the name of a model, version or alias, which is never altered."""


def read_json(content: bytes | str) -> Any:
    """Parse the JSON; raises only `ValueError`.

    An integer of more than 64 bits becomes None, so that only the entry that contains it is invalid.
    """
    text = content if isinstance(content, str) else content.decode("utf-8-sig", "replace")
    try:
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
