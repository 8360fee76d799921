"""Indexes that grow at their ends, so that a delivery does not dirty other pages of a full ledger each time.

A delivery's dispatches are found by the time of its arrival instead of by its random id; the deliveries about a version
by its number (the length goes before the text) instead of by its text.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column, fill it, and change the indexes."""
    op.add_column("dispatches", sa.Column("received_at", sa.Double))
    op.execute(
        "UPDATE dispatches SET received_at = "
        "(SELECT deliveries.received_at FROM deliveries WHERE deliveries.id = dispatches.delivery_id)"
    )
    op.create_index("ix_dispatches_delivery", "dispatches", ["received_at", "delivery_id"])
    op.drop_index("ix_dispatches_delivery_id", "dispatches")
    op.drop_index("ix_deliveries_version", "deliveries")
    by_number: list[str | sa.TextClause] = ["model", sa.text("length(version)"), "version", "received_at"]
    op.create_index("ix_deliveries_version", "deliveries", by_number)


def downgrade() -> None:
    """Refuse: a ledger is never taken back."""
    raise NotImplementedError
