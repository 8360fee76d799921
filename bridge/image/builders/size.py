"""How large an image may get: the input `size-limit`, read and held."""

import re

from bridge.core.errors import BridgeError
from bridge.image.errors import InvalidInput

_SIZE = re.compile(r"([1-9][0-9]{0,5}(?:\.[0-9]{1,3})?) ?(MB|GB)")
_UNITS = {"MB": 10**6, "GB": 10**9}


class ImageTooLarge(BridgeError):
    """The image is larger than the operator lets into the registry."""


def size_limit(text: str) -> int | None:
    """Give the limit in bytes; None where there is none. Raises `InvalidInput`."""
    if not text:
        return None
    if not (found := _SIZE.fullmatch(text)):
        raise InvalidInput(f"size-limit {text[:40]!r} is no size: give a number with MB or GB, such as 2.5 GB")
    return round(float(found[1]) * _UNITS[found[2]])


def check_size(name: str, size: int, limit: int | None) -> None:
    """Raise `ImageTooLarge` where `size` bytes are more than the limit; `name` is what has them."""
    if limit is not None and size > limit:
        raise ImageTooLarge(
            f"{name} has {size / 1e9:.2f} GB and size-limit lets {limit / 1e9:.2f} GB pass: "
            "log the model with fewer requirements, or raise the limit"
        )
