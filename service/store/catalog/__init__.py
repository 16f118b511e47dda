"""Experiments, their datasets and the frames of those: rows, pages of rows, and the writes of a scan."""
