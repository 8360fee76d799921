"""Waiting for what other processes and threads do: early if it works, late if it doesn't."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

PATIENCE = 600.0
"""Seconds that nothing takes unless it is broken, however busy the machine is."""

Value = TypeVar("Value")


def until(condition: Callable[[], Value], *, show: Callable[[], Any] = str, patience: float = PATIENCE) -> Value:
    """Return the condition's first true value; fails after `patience` s with the last one and the text of `show`."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"still {value!r} after {patience:g} s {show()}".strip())
        time.sleep(0.02)
    return value
