"""Users, their keys and their tier."""
