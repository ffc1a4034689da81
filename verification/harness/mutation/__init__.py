"""Known-bad services: a mutant is read, planted into a copy of the service, and must be caught."""
