"""Pure functions from a history to a verdict: they accuse only when no order explains it."""
