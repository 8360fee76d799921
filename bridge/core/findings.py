"""What a check found: a state, what was seen, and what to do about it in one line."""

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
    """One row of the doctor's table; `about` is the repository, webhook or server that was looked at."""

    state: FindingState
    check: str
    about: str
    said: str
    mend: str = ""


def ok(check: str, about: str, said: str) -> Finding:
    """Give a finding that needs no mend."""
    return Finding(FindingState.OK, check, about, said)


def warning(check: str, about: str, said: str, mend: str) -> Finding:
    """Give a finding with which the bridge still works."""
    return Finding(FindingState.WARNING, check, about, said, mend)


def failed(check: str, about: str, said: str, mend: str) -> Finding:
    """Give a finding with which no event becomes a run, or nobody gets to know of it."""
    return Finding(FindingState.FAILED, check, about, said, mend)


def unknown(check: str, about: str, said: str, mend: str = "") -> Finding:
    """Give a finding that is none: what was asked wasn't told."""
    return Finding(FindingState.UNKNOWN, check, about, said, mend)


def told(check: str, about: str, message: str) -> Finding:
    """Give a failure out of one of our errors' messages: thing and cause, then the mend."""
    for end in ("): ", ": "):
        said, found, mend = message.partition(end)
        if found:
            return failed(check, about, said + end.rstrip(": "), mend)
    return failed(check, about, message, "")
