"""Faults at random moments while renders are submitted: `make chaos MINUTES=30 SEED=7`."""
