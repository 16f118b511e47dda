"""Renders and their segments: facts for planning, submission, status changes, lists."""
