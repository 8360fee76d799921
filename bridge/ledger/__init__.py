"""The record of deliveries, dispatches and lanes: a delivery is on the disk before MLflow gets its answer.

SQLite in one file, or PostgreSQL, by the same code. Times are Unix seconds.
"""

from bridge.core.dispatches import DispatchState, OpenDispatch, RunObservation
from bridge.ledger.errors import LedgerTooNew, LedgerUnavailable, Unstorable
from bridge.ledger.lanes import LEASE
from bridge.ledger.ledger import Ledger
from bridge.ledger.records import (
    FOLLOWER,
    LANE,
    RECONCILER,
    Accepted,
    Attempt,
    Delivery,
    DeliveryDetails,
    Dispatch,
    DispatchDetails,
    Duplicate,
    Figures,
    Filter,
    Lane,
    LastDelivery,
    Pending,
    ResultPage,
    VersionSummary,
)

__all__ = [
    "FOLLOWER",
    "LANE",
    "LEASE",
    "RECONCILER",
    "Accepted",
    "Attempt",
    "Delivery",
    "DeliveryDetails",
    "Dispatch",
    "DispatchDetails",
    "DispatchState",
    "Duplicate",
    "Figures",
    "Filter",
    "Lane",
    "LastDelivery",
    "Ledger",
    "LedgerTooNew",
    "LedgerUnavailable",
    "OpenDispatch",
    "Pending",
    "ResultPage",
    "RunObservation",
    "Unstorable",
    "VersionSummary",
]
