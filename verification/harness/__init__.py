"""The tools of the suite: they start, aim, break, wait and report, and claim nothing."""
