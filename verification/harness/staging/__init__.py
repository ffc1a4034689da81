"""Runs against a service that somebody else started: one at a time, within a budget, undone."""
