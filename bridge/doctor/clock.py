"""This machine's clock compared with GitHub's and MLflow's, by the header Date of their answers. Pure; Unix seconds."""

from email.utils import parsedate_to_datetime
from typing import Final

from bridge.core.findings import Finding, failed, ok, unknown, warning
from bridge.mlflow.signature import MAX_AHEAD

CHECK: Final = "clock"

_GITHUB: Final = 60.0
"""Seconds: GitHub accepts an App's JWT that is dated up to that far from its own time."""

_NOTABLE: Final = 10.0
"""Seconds of difference that network delay does not explain."""


def seconds_ahead(date: str | None, asked_at: float, answered_at: float) -> float | None:
    """Return how far our clock is ahead of the server's, None without a readable `date`.

    `date` is the header Date of the answer. What the request's duration and Date's whole seconds explain counts as 0.
    """
    try:
        server_time = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError):
        return None
    if server_time > answered_at:
        return answered_at - server_time
    return max(asked_at - server_time - 1.0, 0.0)


def check_github(seconds: float | None, url: str) -> Finding:
    """Check the difference to GitHub's clock, as `seconds_ahead` returns it."""
    return _check("GitHub", seconds, url, most_behind=_GITHUB, most_ahead=_GITHUB)


def check_mlflow(seconds: float | None, server: str, max_age: float) -> Finding:
    """Check the difference to MLflow's clock: its signatures may be `max_age` old here, but hardly from the future."""
    return _check("MLflow", seconds, server, most_behind=MAX_AHEAD, most_ahead=max_age)


def _check(name: str, seconds: float | None, subject: str, *, most_behind: float, most_ahead: float) -> Finding:
    if seconds is None:
        return unknown(CHECK, subject, f"{name}'s response has no date")
    difference = f"this machine's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {name}'s"
    hint = "synchronize the clocks of both machines with NTP"
    if not -most_behind <= seconds <= most_ahead:
        return failed(CHECK, subject, f"{difference}, so signatures and sign-ins are rejected", hint)
    if abs(seconds) > _NOTABLE:
        return warning(CHECK, subject, difference, hint)
    return ok(CHECK, subject, f"this machine's clock and {name}'s agree")
