"""Renders and their segments: submission, status changes, lists."""
