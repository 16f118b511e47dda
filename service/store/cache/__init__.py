"""Rendered segments and previews that are kept for reuse, and their eviction."""
