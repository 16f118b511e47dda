"""Draws text and a scale bar onto frames."""
