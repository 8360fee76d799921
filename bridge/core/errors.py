"""The base class of every error that this project raises. A leaf's name says what happened; data is in attributes."""

from dataclasses import dataclass


class BridgeError(Exception):
    """What happened, to what (`message`), and how to fix it (`hint`, may be empty).

    Both are one line without a secret. `str()` joins them for logs and terminals; no code parses them.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}: {hint}" if hint else message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Problem:
    """One of several faults in the same file or environment; `str()` joins its parts like a `BridgeError`."""

    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}"
