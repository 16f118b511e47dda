"""Registers the frames or source videos under the prefix of a dataset."""
