"""What people browse: model versions with their states, the models to search in, the attempts at each dispatch."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FILL = """
INSERT INTO versions (model, version, state, dispatch_id, latest_id, told_at, read_at)
SELECT model, version, state, id, latest_id, created_at, 0 FROM (
    SELECT
        model, version, state, id, latest_id, created_at,
        ROW_NUMBER() OVER (PARTITION BY model, version ORDER BY CASE state
            WHEN 'pending' THEN 0 WHEN 'sent' THEN 1 WHEN 'running' THEN 2 WHEN 'failed' THEN 3
            WHEN 'rejected' THEN 4 WHEN 'unseen' THEN 5 WHEN 'cancelled' THEN 6 WHEN 'superseded' THEN 7
            WHEN 'withdrawn' THEN 8 ELSE 9 END, id DESC) AS place
    FROM (
        SELECT
            deliveries.model, deliveries.version, dispatches.state, dispatches.id, dispatches.created_at,
            dispatches.delivery_id || ' ' || dispatches.created_at AS bundle,
            MAX(dispatches.id) OVER (PARTITION BY deliveries.model, deliveries.version) AS latest_id,
            FIRST_VALUE(dispatches.delivery_id || ' ' || dispatches.created_at) OVER (
                PARTITION BY deliveries.model, deliveries.version ORDER BY dispatches.id DESC) AS latest_bundle
        FROM dispatches JOIN deliveries ON deliveries.id = dispatches.delivery_id
    ) AS each_dispatch
    WHERE bundle = latest_bundle
) AS of_the_newest
WHERE place = 1
ON CONFLICT (model, version) DO UPDATE SET
    state = excluded.state, dispatch_id = excluded.dispatch_id, latest_id = excluded.latest_id,
    told_at = excluded.told_at
"""
"""A version's state is that of its newest delivery or replay: of its dispatches, the one most worth a look."""


def upgrade() -> None:
    """Add the columns, tables and indexes, and fill them from what the ledger has."""
    for name in ("state", "dispatch_id", "latest_id"):
        op.add_column("versions", sa.Column(name, sa.Text))
    op.add_column("versions", sa.Column("told_at", sa.Double))
    op.add_column("dispatches", sa.Column("started_at", sa.Double))
    op.create_table(
        "models", sa.Column("name", sa.Text, primary_key=True), sa.Column("folded", sa.Text, nullable=False)
    )
    op.create_table(
        "attempts",
        sa.Column("dispatch_id", sa.Text, sa.ForeignKey("dispatches.id"), primary_key=True),
        sa.Column("first_at", sa.Double, primary_key=True),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
    )
    _fill()
    # Newest first: all of them, those in one state, those of one model.
    op.create_index("ix_versions_latest", "versions", ["latest_id"])
    op.create_index("ix_versions_state", "versions", ["state", "latest_id"])
    op.create_index("ix_versions_model", "versions", ["model", "state", "latest_id"])
    op.drop_index("ix_dispatches_state", "dispatches")
    op.create_index("ix_dispatches_state", "dispatches", ["state", "id"])
    # The deliveries about a version, and the last ones about an alias; instead of one index by kind.
    op.create_index("ix_deliveries_version", "deliveries", ["model", "version", "received_at"])
    aliases = sa.text("alias IS NOT NULL")
    op.create_index(
        "ix_deliveries_alias",
        "deliveries",
        ["model", "alias", "received_at"],
        sqlite_where=aliases,
        postgresql_where=aliases,
    )
    op.drop_index("ix_deliveries_told", "deliveries")


def downgrade() -> None:
    """Refuse: a ledger is never taken back."""
    raise NotImplementedError


def _fill() -> None:
    connection = op.get_bind()
    connection.exec_driver_sql(FILL)
    models = sa.table("models", sa.column("name", sa.Text), sa.column("folded", sa.Text))
    names = list(connection.exec_driver_sql("SELECT DISTINCT model FROM versions").scalars())
    for start in range(0, len(names), 1000):
        connection.execute(
            models.insert(), [{"name": name, "folded": name.casefold()} for name in names[start : start + 1000]]
        )
