"""Slot processes: each does one command at a time, and untrusted media is decoded only here."""
