"""How much the process holds of bodies whose signature has not been checked yet, whoever sends them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bridge.errors import BridgeError

BUDGET: Final = 32 * 1024 * 1024
"""Bytes for the whole process: 32 bodies of the largest size at once. MLflow's server sends ten at a time."""

FREE: Final = 4 * 1024
"""Bytes of each body that don't count, about what its connection costs anyway: an event of MLflow's is some hundred
bytes, and so is accepted even while strangers use up the budget.
"""


class TooManyBodies(BridgeError):
    """The budget is used up by bodies that are still arriving."""


class Body(bytearray):
    """A body while it arrives."""

    def __init__(self, budget: "Budget") -> None:
        self._budget = budget

    def add(self, part: bytes) -> None:
        """Append; raises `TooManyBodies` where the budget doesn't allow that."""
        self._budget.reserve(len(part) - max(0, min(FREE - len(self), len(part))))
        self += part


class Budget:
    """Counts what arrives, as it arrives: an announced length alone uses up nothing."""

    def __init__(self, most: int = BUDGET) -> None:
        self._left = most

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Give an empty body; what it has used is given back at the end, however that comes."""
        body = Body(self)
        try:
            yield body
        finally:
            self._left += max(0, len(body) - FREE)

    def reserve(self, size: int) -> None:
        """Use up that many bytes; raises `TooManyBodies` and uses up none where they are not left."""
        if size > self._left:
            raise TooManyBodies("too many deliveries are arriving at once: send it again")
        self._left -= size
