"""The claims, by promise. Each is a sentence about the service that somebody would be paged for."""
