"""Telling other services how a render ended: signed, and never to an address inside our own network."""
