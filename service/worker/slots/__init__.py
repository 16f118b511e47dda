"""Slots: each executes one command at a time, and only their codec processes decode untrusted media."""
