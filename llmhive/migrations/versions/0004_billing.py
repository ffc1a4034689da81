"""Stripe's events, the subscriptions and facts they tell of, and the ledger of their effects.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "billing_events",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("customer", sa.String(255), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_id", sa.String(32), nullable=True),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("done_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_billing_events"),
    )
    _make_subscriptions()
    op.create_table(
        "billing_ledger",
        sa.Column("event", sa.String(255), nullable=False),
        sa.Column("customer", sa.String(255), nullable=False),
        sa.Column("invoice", sa.String(255), nullable=True),
        sa.Column("kind", sa.String(255), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event", name="pk_billing_ledger"),
        sa.UniqueConstraint("invoice", "kind", name="uq_billing_ledger_invoice"),
    )
    op.create_index("ix_billing_ledger_customer", "billing_ledger", ["customer"])


def _make_subscriptions() -> None:
    op.create_table(
        "billing_subscriptions",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("customer", sa.String(255), nullable=False),
        sa.Column("status", sa.String(255), nullable=False),
        sa.Column("tier", sa.String(32), nullable=True),
        sa.Column("price", sa.String(255), nullable=True),
        sa.Column("current_period_end", sa.BigInteger(), nullable=True),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("past_due_since", sa.Float(), nullable=True),
        sa.Column("grace_ends", sa.Float(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_billing_subscriptions"),
    )
    for column in ("customer", "grace_ends"):
        op.create_index(f"ix_billing_subscriptions_{column}", "billing_subscriptions", [column])
    op.create_table(
        "billing_facts",
        sa.Column("event", sa.String(255), nullable=False),
        sa.Column("subscription", sa.String(255), nullable=False),
        sa.Column("customer", sa.String(255), nullable=False),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(255), nullable=True),
        sa.Column("invoice", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("event", name="pk_billing_facts"),
    )
    op.create_index("ix_billing_facts_subscription", "billing_facts", ["subscription"])


def downgrade() -> None:
    """Drop the tables with everything in them."""
    op.drop_table("billing_ledger")
    op.drop_table("billing_facts")
    op.drop_table("billing_subscriptions")
    op.drop_table("billing_events")
