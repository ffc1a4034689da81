"""The database's changes in order, run by `llmhive migrate`."""
