"""The bridge with short waits: `python -m tests.integration.short_waits serve`.

QUICK_GRACE: the seconds for MLflow's own delivery, before the reconciler looks for the event.
"""

import os

from bridge.core import dispatches, missed_events

missed_events.GRACE = float(os.environ.get("QUICK_GRACE", "1"))  # type: ignore[misc]  # final for all but us
dispatches.UNSEEN_AFTER = 4.0  # type: ignore[misc]

from bridge.workers import (  # noqa: E402  after the constants
    follower,
    reconciler,
)

follower.LOOK_AGAIN = 0.5  # type: ignore[misc]
follower._LEASE = 2.0  # type: ignore[misc]
reconciler._HEARTBEAT = 0.2  # type: ignore[misc]
reconciler._LEASE = 2.0  # type: ignore[misc]
reconciler._AFTER_MLFLOW = 0.5  # type: ignore[misc]

if __name__ == "__main__":
    from bridge.cli import app

    app()
