"""The reference LLM service (Stage 4): what the suite beside it verifies."""

__version__ = "0.1.0"
