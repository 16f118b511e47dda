"""Experiments, their datasets, and the frames of those."""
