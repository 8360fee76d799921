"""How long the loops wait, in seconds. Tests that use a real MLflow or GitHub make them short."""

from dataclasses import dataclass

from bridge.core.dispatches import UNSEEN_AFTER
from bridge.core.missed_events import GRACE


@dataclass(frozen=True)
class Waits:
    """`grace`: what MLflow's own delivery has before the reconciler looks for it. `unseen_after`: what GitHub has to
    show a run. `rerun_check`: between two checks whether an ended run was re-run; pages may show it a little late.

    `lease`: after which another process takes over from one that is gone, in addition to its interval; `heartbeat`:
    between two renewals of the reconciler's lease. `mlflow_retry`: before MLflow is asked again after a failure.
    """

    grace: float = GRACE
    unseen_after: float = UNSEEN_AFTER
    rerun_check: float = 300.0
    lease: float = 60.0
    heartbeat: float = 20.0
    mlflow_retry: float = 60.0


WAITS = Waits()
