"""What operators say: limits of users, orders to breakers, and the lease of a run.

Revision: 0003, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables, and the index by which a run's users are found."""
    op.create_index("ix_users_tag", "users", ["tag"])
    op.create_table(
        "limit_overrides",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("requests_per_min", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.Float(), nullable=False),
        sa.Column("revision", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_limit_overrides"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_limit_overrides_user_id", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "breaker_orders",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("forced", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("revision", sa.String(32), nullable=False),
        sa.Column("ordered_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_breaker_orders"),
    )
    op.create_table(
        "run_leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("lease_id", sa.String(32), nullable=False),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("acquired_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_run_leases"),
    )


def downgrade() -> None:
    """Drop the tables with everything in them."""
    op.drop_table("run_leases")
    op.drop_table("breaker_orders")
    op.drop_table("limit_overrides")
    op.drop_index("ix_users_tag", "users")
