"""The suite under test: hand-made histories, simulators, house rules."""
