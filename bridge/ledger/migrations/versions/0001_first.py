"""Deliveries, dispatches and lanes. Times are Unix seconds."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("alias", sa.Text),
        sa.Column("tag", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("run_id", sa.Text),
        sa.Column("received_at", sa.Double, nullable=False),
    )
    op.create_table(
        "lanes",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("paused_because", sa.Text),
        sa.Column("pauses", sa.Integer, nullable=False),
        sa.Column("leased_until", sa.Double),
        sa.Column("leased_by", sa.Text),
    )
    op.create_table(
        "dispatches",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("delivery_id", sa.Text, sa.ForeignKey("deliveries.id"), nullable=False, index=True),
        sa.Column("lane", sa.Text, sa.ForeignKey("lanes.name"), nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("sending_since", sa.Double),
        sa.Column("sent_at", sa.Double),
        sa.Column("run_id", sa.BigInteger),
        sa.Column("run_url", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_dispatches_pending", "dispatches", ["lane", "next_at", "id"], sqlite_where=pending, postgresql_where=pending
    )


def downgrade() -> None:
    """Refuse: a ledger is never taken back."""
    raise NotImplementedError
