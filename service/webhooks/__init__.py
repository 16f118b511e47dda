"""Webhooks: signed notifications of finished renders, never sent into our own network."""
