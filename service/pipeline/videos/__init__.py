"""Decodes the frames of source videos."""
