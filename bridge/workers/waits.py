"""How long the loops wait. Tests with a real MLflow or GitHub make these times short."""

from dataclasses import dataclass
from typing import Final

from bridge.core.dispatches import UNSEEN_AFTER
from bridge.core.missed_events import GRACE


@dataclass(frozen=True)
class Waits:
    """All in seconds."""

    grace: float = GRACE
    """For MLflow's own delivery, before the reconciler imports the event."""

    unseen_after: float = UNSEEN_AFTER
    """For GitHub to show a run, before its dispatch counts as unseen."""

    rerun_check: float = 300.0
    """Between two checks whether ended runs were re-run: pages may show that a little late."""

    lease: float = 60.0
    """After which another process follows or reconciles in place of one that is gone; a follower adds its interval."""

    heartbeat: float = 20.0
    """Between two renewals of the reconciler's lease."""

    mlflow_retry: float = 60.0
    """Before MLflow is asked again after a failure."""


WAITS: Final = Waits()
