"""Benchmarks of Reelmill against its alternatives, and of its API."""
