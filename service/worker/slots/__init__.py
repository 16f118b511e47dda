"""Slot processes: each executes one command at a time, and only they decode untrusted media."""
