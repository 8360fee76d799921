"""Limits how many bytes the process holds of bodies whose signature has not been verified yet."""

from collections.abc import Iterator
from contextlib import contextmanager

from bridge.core.errors import BridgeError
from bridge.core.limits import MAX_UNVERIFIED_BODIES, UNCOUNTED_BODY


class TooManyBodies(BridgeError):
    """The budget is used up by bodies that are still arriving."""


class Body(bytearray):
    """A body that is arriving."""

    def __init__(self, budget: "Budget") -> None:
        self._budget = budget

    def add(self, chunk: bytes) -> None:
        """Append the bytes; raises `TooManyBodies` if the budget is used up."""
        self._budget.reserve(len(chunk) - max(0, min(UNCOUNTED_BODY - len(self), len(chunk))))
        self += chunk


class Budget:
    """Counts bytes as they arrive: an announced length alone doesn't count."""

    def __init__(self, size: int = MAX_UNVERIFIED_BODIES) -> None:
        self._left = size

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Yield an empty body; its share of the budget is always released at the end."""
        body = Body(self)
        try:
            yield body
        finally:
            self._left += max(0, len(body) - UNCOUNTED_BODY)

    def reserve(self, size: int) -> None:
        """Reserve that many bytes; raises `TooManyBodies`, and reserves none, if too few are left."""
        if size > self._left:
            raise TooManyBodies("too many deliveries are arriving at once", "send it again")
        self._left -= size
