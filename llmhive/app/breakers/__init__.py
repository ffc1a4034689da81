"""Circuit breakers of the providers: a table, windows, and a view shared by all workers."""
