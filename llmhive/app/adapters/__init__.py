"""One file per technology: everything that reaches outside the process."""
