"""Chaos: experiments that break something on purpose and say what it cost."""
