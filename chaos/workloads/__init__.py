"""What callers do while something is broken."""
