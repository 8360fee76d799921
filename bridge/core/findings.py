"""The result of a check: its state, subject and message, and how to fix the problem."""

from dataclasses import dataclass
from enum import StrEnum


class FindingState(StrEnum):
    """How serious a finding is."""

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
    """Events do not become runs, or the bridge cannot follow the runs to their end."""
    return Finding(FindingState.FAILED, check, subject, message, hint)


def unknown(check: str, subject: str, message: str, hint: str = "") -> Finding:
    """The check had no result."""
    return Finding(FindingState.UNKNOWN, check, subject, message, hint)
