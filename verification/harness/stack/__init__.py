"""Ways to get a target: processes, containers, or what a target file names."""
