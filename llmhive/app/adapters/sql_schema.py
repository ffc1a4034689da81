"""Every table of the service; migrations make them, adapters read and write them.

Times are wall-clock seconds (REAL), ids are text, amounts are integers of minor units.
Imports nothing of the service.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# In a column's `info`: whose row it is. Deleting a user deletes every row that is theirs.
OF_USER: Final = {"owner": "user"}
OF_CUSTOMER: Final = {"owner": "customer"}

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

users = Table(
    "users",
    METADATA,
    Column("id", String(255), primary_key=True),
    # What an operator granted, by the command or the admin route.
    Column("tier", String(32), nullable=False, server_default="free"),
    # What live subscriptions entitle to; billing writes it in its second transaction.
    Column("entitled_tier", Text, nullable=False, server_default="free"),
    Column("stripe_customer", String(255), unique=True, nullable=True),
    # What a run of the suite or an operator marked the user with, for deletion by tag.
    Column("tag", String(255), nullable=True),
    Column("created_at", Float, nullable=False),
    Index("ix_users_tag", "tag"),
)

api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", String(32), primary_key=True),
    # SHA-256 of the whole key, hex: keys are random, so a slow hash would add nothing.
    Column("key_hash", String(64), nullable=False, unique=True),
    Column(
        "user_id",
        String(255),
        ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
        info=OF_USER,
    ),
    # Words with a space between, as in RFC 6749 section 3.3.
    Column("scopes", Text, nullable=False, server_default="chat"),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=True),
    Column("revoked_at", Float, nullable=True),
    Index("ix_api_keys_user_id", "user_id"),
)

# A user's limit as an operator wants it for a while.
limit_overrides = Table(
    "limit_overrides",
    METADATA,
    Column(
        "user_id",
        String(255),
        ForeignKey("users.id", ondelete="CASCADE"),
        primary_key=True,
        info=OF_USER,
    ),
    Column("requests_per_min", Integer, nullable=False),
    Column("ends_at", Float, nullable=False),
    # Random, new with every change, so that a mirror knows whether it shows this one.
    Column("revision", String(32), nullable=False),
)

# The last that an operator said of a breaker; names come from configuration.
breaker_orders = Table(
    "breaker_orders",
    METADATA,
    Column("name", String(255), primary_key=True),
    # open, closed, or empty: given back to its timers.
    Column("forced", String(8), nullable=False),
    Column("reason", String(255), nullable=False),
    Column("revision", String(32), nullable=False),
    Column("ordered_at", Float, nullable=False),
)

# Who runs a verification against this service: one row, for one run at a time.
run_leases = Table(
    "run_leases",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("lease_id", String(32), nullable=False),
    Column("holder", String(128), nullable=False),
    Column("run", String(64), nullable=False),
    Column("acquired_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

# Every event that Stripe delivered and that was believed; what is done is never done again.
billing_events = Table(
    "billing_events",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("type", String(255), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("customer", String(255), nullable=True, info=OF_CUSTOMER),
    # open, dead, or how it was done.
    Column("state", String(32), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lease_id", String(32), nullable=True),
    Column("lease_until", Float, nullable=True),
    # The delivery itself, until it is done: a dead event can be replayed.
    Column("body", Text, nullable=True),
    Column("received_at", Float, nullable=False),
    Column("done_at", Float, nullable=True),
)

# Subscriptions as Stripe's newest word has them; `version` counts the events behind it.
billing_subscriptions = Table(
    "billing_subscriptions",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("customer", String(255), nullable=False, info=OF_CUSTOMER),
    Column("status", String(255), nullable=False),
    Column("tier", String(32), nullable=True),
    Column("price", String(255), nullable=True),
    Column("current_period_end", BigInteger, nullable=True),
    Column("cancel_at_period_end", Boolean, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    Column("past_due_since", Float, nullable=True),
    Column("grace_ends", Float, nullable=True),
    Column("version", Integer, nullable=False),
    Index("ix_billing_subscriptions_customer", "customer"),
    Index("ix_billing_subscriptions_grace_ends", "grace_ends"),
)

# What each event proves of a subscription for ever; grace follows from the set of them.
billing_facts = Table(
    "billing_facts",
    METADATA,
    Column("event", String(255), primary_key=True),
    Column("subscription", String(255), nullable=False),
    Column("customer", String(255), nullable=False, info=OF_CUSTOMER),
    Column("type", String(255), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("status", String(255), nullable=True),
    Column("invoice", String(255), nullable=True),
    Index("ix_billing_facts_subscription", "subscription"),
)

# One row per effect, only ever added; the second guard against doing anything twice.
billing_ledger = Table(
    "billing_ledger",
    METADATA,
    Column("event", String(255), primary_key=True),
    Column("customer", String(255), nullable=False, info=OF_CUSTOMER),
    Column("invoice", String(255), nullable=True),
    Column("kind", String(255), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=True),
    Column("created", BigInteger, nullable=False),
    UniqueConstraint("invoice", "kind"),
    Index("ix_billing_ledger_customer", "customer"),
)

# One row, written and rolled back by the check that the database can be written.
write_checks = Table(
    "write_checks",
    METADATA,
    Column("id", String(8), primary_key=True),
    Column("checked_at", Float, nullable=False),
)
