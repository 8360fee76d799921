"""The ledger beside a running bridge: opened as it is, never made nor migrated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.core.findings import FindingState
from bridge.ledger import Ledger, LedgerUnavailable
from bridge.ledger import inspection as seen
from bridge.ledger.database import HEAD


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """Give the ledger of a DATABASE_URL; raises `LedgerUnavailable` where it isn't there, or of another release."""
    found = await asyncio.to_thread(seen.look, url)
    finding = seen.judge(found)
    if finding.state is FindingState.FAILED:
        raise LedgerUnavailable(f"the ledger can't be used ({finding.message}): {finding.hint}")
    if found.revision != HEAD:
        said = "is empty" if found.revision is None else "is of an older release"
        raise LedgerUnavailable(f"the ledger {said}: start this release's `mlflow-bridge serve` first")
    ledger = Ledger(url)
    try:
        yield ledger
    finally:
        await ledger.close()
