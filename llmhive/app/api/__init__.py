"""HTTP only: parse, call one service, serialise."""
