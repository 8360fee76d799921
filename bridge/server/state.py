"""What the endpoints work with, made once by the application's lifespan."""

from dataclasses import dataclass, field
from typing import Self

from fastapi import Request

from bridge.github.client import GithubApi
from bridge.ledger import Ledger
from bridge.server.bodies import Budget
from bridge.server.figures import Metrics
from bridge.server.probe import Probe
from bridge.settings import Settings
from bridge.workers.dispatcher import Dispatcher
from bridge.workers.follower import Follower
from bridge.workers.loop import Loop
from bridge.workers.reconciler import Reconciler


@dataclass(frozen=True)
class AppState:
    """The parts of a running bridge; there is no reconciler where it is off or no MLflow is set."""

    settings: Settings
    ledger: Ledger
    github: GithubApi
    metrics: Metrics
    dispatcher: Dispatcher
    follower: Follower
    reconciler: Reconciler | None
    probe: Probe
    unverified: Budget = field(default_factory=Budget)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Give all that goes on in the background."""
        always = (self.dispatcher, self.follower)
        return (*always, self.reconciler) if self.reconciler else always

    @classmethod
    def of(cls, request: Request) -> Self:
        """Give the state of the application that got the request."""
        state: Self = request.app.state.bridge
        return state
