"""One claim per file, at most 80 lines: the file's name is the claim."""
