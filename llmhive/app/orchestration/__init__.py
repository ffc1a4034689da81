"""A chat request from start to end."""
