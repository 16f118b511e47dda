"""Encodes frames into segments and joins segments into files."""
