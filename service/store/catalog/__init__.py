"""Experiments, their datasets, and the frames of those; presets, which are shared as experiments are."""
