"""Limits how many bytes the process holds of bodies whose signature has not been checked yet."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bridge.core.errors import BridgeError

BUDGET: Final = 32 * 1024 * 1024
"""Bytes for the whole process: 32 bodies of the maximum size at once. MLflow's server sends ten at a time."""

FREE: Final = 4 * 1024
"""Bytes of each body that don't count, about what its connection costs anyway. An event of MLflow's has a few hundred
bytes, so it is accepted even while others use up the budget.
"""


class TooManyBodies(BridgeError):
    """The budget is used up by bodies that are still arriving."""


class Body(bytearray):
    """A body that is arriving."""

    def __init__(self, budget: "Budget") -> None:
        self._budget = budget

    def add(self, part: bytes) -> None:
        """Append the part; raises `TooManyBodies` if the budget is used up."""
        self._budget.reserve(len(part) - max(0, min(FREE - len(self), len(part))))
        self += part


class Budget:
    """Counts bytes as they arrive: an announced length alone doesn't count."""

    def __init__(self, most: int = BUDGET) -> None:
        self._left = most

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Yield an empty body; what it has used is always released at the end."""
        body = Body(self)
        try:
            yield body
        finally:
            self._left += max(0, len(body) - FREE)

    def reserve(self, size: int) -> None:
        """Reserve that many bytes; raises `TooManyBodies`, and reserves none, if too few are left."""
        if size > self._left:
            raise TooManyBodies("too many deliveries are arriving at once: send it again")
        self._left -= size
