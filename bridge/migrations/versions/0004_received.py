"""A delivery's dispatches are found by the time that it came at, no longer by its random id.

An index over times grows at its end alone; one over random ids dirties another page for every delivery, and was half of
what a delivery cost in a full ledger.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, fill it, and change the indexes."""
    op.add_column("dispatches", sa.Column("received_at", sa.Double))
    op.execute(
        "UPDATE dispatches SET received_at = "
        "(SELECT deliveries.received_at FROM deliveries WHERE deliveries.id = dispatches.delivery_id)"
    )
    op.create_index("ix_dispatches_delivery", "dispatches", ["received_at", "delivery_id"])
    op.drop_index("ix_dispatches_delivery_id", "dispatches")


def downgrade() -> None:
    """Refuse: a ledger is never taken back."""
    raise NotImplementedError
