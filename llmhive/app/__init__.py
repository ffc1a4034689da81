"""The service's code. Start reading at `bootstrap`, which names every concrete adapter."""
