"""The record of deliveries, dispatches and lanes: what was accepted is on the disk before anybody is told so.

SQLite in one file, or PostgreSQL, by the same code. Times are Unix seconds.
"""

from bridge.core.dispatches import Open, RunState, State
from bridge.ledger.errors import LedgerTooNew, LedgerUnavailable, Unstorable
from bridge.ledger.ledger import LEASE, Ledger
from bridge.ledger.records import (
    FOLLOWER,
    LANE,
    RECONCILER,
    Accepted,
    Attempt,
    Delivery,
    Dispatch,
    Duplicate,
    Figures,
    Lane,
    Listed,
    Part,
    Pending,
    Sending,
    Story,
    Told,
    Wanted,
)

__all__ = [
    "FOLLOWER",
    "LANE",
    "LEASE",
    "RECONCILER",
    "Accepted",
    "Attempt",
    "Delivery",
    "Dispatch",
    "Duplicate",
    "Figures",
    "Lane",
    "Ledger",
    "LedgerTooNew",
    "LedgerUnavailable",
    "Listed",
    "Open",
    "Part",
    "Pending",
    "RunState",
    "Sending",
    "State",
    "Story",
    "Told",
    "Unstorable",
    "Wanted",
]
