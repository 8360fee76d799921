"""GitHub's rate limits: requests an hour, and the secondary limits on requests that create content.

Source: GitHub's document "Rate limits for the REST API".
"""

import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Limits:
    """GitHub's limits for one token."""

    requests_an_hour: int = 5000
    content_a_minute: int = 80
    content_an_hour: int = 500


class Meter:
    """Counts one token's requests; the time is an argument."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._used = 0
        self._reset: datetime | None = None
        self._content: deque[datetime] = deque()

    def exhausted(self, now: datetime) -> bool:
        """Return whether this hour's requests are used up."""
        self._turn(now)
        return self._used >= self._limits.requests_an_hour

    def count(self, now: datetime) -> None:
        """Count one request; a 304 is free."""
        self._turn(now)
        self._used += 1

    def quota(self, now: datetime) -> dict[str, int]:
        """Return limit, remaining, used and reset (seconds since 1970), for /rate_limit and the x-ratelimit headers."""
        self._turn(now)
        limit, reset = self._limits.requests_an_hour, self._reset or now + _HOUR
        return {
            "limit": limit,
            "remaining": max(0, limit - self._used),
            "used": self._used,
            "reset": math.ceil(reset.timestamp()),
        }

    def create(self, now: datetime) -> int:
        """Count one request that creates content and return 0; or count nothing and return the seconds to wait."""
        while self._content and self._content[0] <= now - _HOUR:
            self._content.popleft()
        last_minute = [moment for moment in self._content if moment > now - timedelta(minutes=1)]
        if len(last_minute) >= self._limits.content_a_minute:
            return _seconds(last_minute[0] + timedelta(minutes=1) - now)
        if len(self._content) >= self._limits.content_an_hour:
            return _seconds(self._content[0] + _HOUR - now)
        self._content.append(now)
        return 0

    def _turn(self, now: datetime) -> None:
        """Begin a new hour if the last one is over; an hour begins with its first request."""
        if self._reset is None or now >= self._reset:
            self._used, self._reset = 0, now + _HOUR


def _seconds(span: timedelta) -> int:
    return max(1, math.ceil(span.total_seconds()))
