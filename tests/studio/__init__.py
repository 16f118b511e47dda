"""The Studio in a real browser, over the whole service."""
