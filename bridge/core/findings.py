"""What a check found: a state, a message, and a hint."""

from dataclasses import dataclass
from enum import StrEnum


class FindingState(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "could not check"


@dataclass(frozen=True)
class Finding:
    """What one check found about `subject`, such as a repository, a webhook or a server; `hint` says how to fix it."""

    state: FindingState
    check: str
    subject: str
    message: str
    hint: str = ""


def ok(check: str, subject: str, message: str) -> Finding:
    """Nothing needs to be fixed."""
    return Finding(FindingState.OK, check, subject, message)


def warning(check: str, subject: str, message: str, hint: str) -> Finding:
    """The bridge works, but something should be fixed."""
    return Finding(FindingState.WARNING, check, subject, message, hint)


def failed(check: str, subject: str, message: str, hint: str) -> Finding:
    """Events don't become runs, or the result of a run stays unknown."""
    return Finding(FindingState.FAILED, check, subject, message, hint)


def unknown(check: str, subject: str, message: str, hint: str = "") -> Finding:
    """The check got no answer."""
    return Finding(FindingState.UNKNOWN, check, subject, message, hint)


def told(check: str, about: str, message: str) -> Finding:
    """Return a failure from the text of one of our errors: its message, then its hint."""
    for end in ("): ", ": "):
        said, found, hint = message.partition(end)
        if found:
            return failed(check, about, said + end.rstrip(": "), hint)
    return failed(check, about, message, "")
