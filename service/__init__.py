"""Reelmill: renders camera frames and source videos into videos."""

__version__ = "0.1.0"
