"""This machine's clock against those of GitHub and MLflow, by the header Date of their answers. Pure; Unix seconds."""

from email.utils import parsedate_to_datetime
from typing import Final

from bridge.core.findings import Finding, failed, ok, unknown, warning
from bridge.mlflow.signature import MAX_AHEAD

CHECK: Final = "clock"
_GITHUB: Final = 60.0
"""Seconds: GitHub takes an App's JWT that is dated up to that far from its own time."""

_NOTABLE: Final = 10.0
"""Seconds of difference that no network explains."""

_MEND: Final = "let NTP set the clocks of both machines"


def read(date: str | None) -> float | None:
    """Give the time of a header Date, None where there is none that can be read."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError):
        return None


def ahead(date: str | None, asked: float, answered: float) -> float | None:
    """Give how far our clock is ahead of theirs; what the request's way and the whole seconds of Date explain is 0."""
    theirs = read(date)
    if theirs is None:
        return None
    if theirs > answered:
        return answered - theirs
    return max(asked - theirs - 1.0, 0.0)


def github(ahead: float | None, url: str) -> Finding:
    """Judge the difference to GitHub's clock."""
    return _judge("GitHub", ahead, url, behind=_GITHUB, before=_GITHUB)


def mlflow(ahead: float | None, server: str, max_age: float) -> Finding:
    """Judge the difference to MLflow's clock: what it signs may be `max_age` old here, and little ahead."""
    return _judge("MLflow", ahead, server, behind=MAX_AHEAD, before=max_age)


def _judge(who: str, seconds: float | None, about: str, *, behind: float, before: float) -> Finding:
    if seconds is None:
        return unknown(CHECK, about, f"{who}'s answer tells no time")
    said = f"this machine's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {who}'s"
    if not -behind <= seconds <= before:
        return failed(CHECK, about, f"{said}: signatures and sign-ins are refused", _MEND)
    if abs(seconds) > _NOTABLE:
        return warning(CHECK, about, said, _MEND)
    return ok(CHECK, about, f"this machine's clock and {who}'s agree")
