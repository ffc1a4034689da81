"""Stripe's events become a ledger and an entitlement, each event once."""
