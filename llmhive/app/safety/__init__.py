"""What keeps secrets and people's words where they belong."""
