"""The HTTP face: one noun per file, models beside their routes."""
