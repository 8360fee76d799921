"""Other ways to dispatch, the ends of runs, images, bookmarks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, tables and indexes."""
    op.add_column("dispatches", sa.Column("way", sa.Text, nullable=False, server_default="repository_dispatch"))
    op.add_column("dispatches", sa.Column("workflow", sa.Text))
    op.add_column("dispatches", sa.Column("ref", sa.Text))
    op.add_column("dispatches", sa.Column("seen_at", sa.Double))
    op.add_column("dispatches", sa.Column("ended_at", sa.Double))
    op.create_table(
        "versions",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("image_uri", sa.Text),
        sa.Column("image_status", sa.Text),
        sa.Column("read_at", sa.Double, nullable=False),
    )
    op.create_table(
        "bookmarks", sa.Column("name", sa.Text, primary_key=True), sa.Column("text", sa.Text, nullable=False)
    )
    # How many there are of each state.
    op.create_index("ix_dispatches_state", "dispatches", ["state"])
    # What is to be followed: a handful among all that succeeded long ago.
    followed = sa.text("state IN ('sent', 'running', 'failed', 'cancelled', 'unseen')")
    op.create_index("ix_dispatches_open", "dispatches", ["ended_at"], sqlite_where=followed, postgresql_where=followed)
    # The last deliveries about a model.
    op.create_index("ix_deliveries_told", "deliveries", ["model", "kind", "received_at"])
    # What was sent after another.
    sent = sa.text("sent_at IS NOT NULL")
    op.create_index("ix_dispatches_sent", "dispatches", ["sent_at"], sqlite_where=sent, postgresql_where=sent)


def downgrade() -> None:
    """Refuse: a ledger is never taken back."""
    raise NotImplementedError
