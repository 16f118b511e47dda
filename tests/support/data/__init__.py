"""Test data: frames, videos, database rows and query documents."""
