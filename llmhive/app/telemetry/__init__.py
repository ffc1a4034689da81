"""Metrics, log events and what is known of the request at hand."""
