"""Stand-alone peers of the service: LLM providers and the Stripe API. Standard library only."""
