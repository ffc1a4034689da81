"""Limits per user: requests and tokens in a rolling window, requests in flight."""
