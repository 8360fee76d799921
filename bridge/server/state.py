"""The state that all endpoints share, created once by the application's lifespan."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from fastapi import Request

from bridge.github.client import GithubApi
from bridge.ledger import Ledger
from bridge.server.bodies import Budget
from bridge.server.probe import Probe
from bridge.settings import Settings
from bridge.workers.dispatcher import Dispatcher
from bridge.workers.follower import Follower
from bridge.workers.loop import Loop
from bridge.workers.reconciler import Reconciler

if TYPE_CHECKING:
    from bridge.server.metrics import Metrics  # its endpoint needs the state


@dataclass(frozen=True)
class AppState:
    """The parts of a running bridge; `reconciler` is None if it is disabled or no MLflow is set."""

    settings: Settings
    ledger: Ledger
    github: GithubApi
    metrics: "Metrics"
    dispatcher: Dispatcher
    follower: Follower
    reconciler: Reconciler | None
    probe: Probe
    unverified: Budget = field(default_factory=Budget)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The background loops."""
        always = (self.dispatcher, self.follower)
        return (*always, self.reconciler) if self.reconciler else always

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return the state of the application that received the request."""
        state: Self = request.app.state.bridge
        return state
