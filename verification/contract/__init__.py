"""The contract, written by hand from the checklist and the design; never from the service."""
