"""Reelmill: camera frames and source videos in, videos out."""

__version__ = "0.1.0"
