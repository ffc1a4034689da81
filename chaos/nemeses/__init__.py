"""What can be broken, one imperative each: begun, proven by a probe, healed, proven healed."""
