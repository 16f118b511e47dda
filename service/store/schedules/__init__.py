"""Schedules and their runs: each time of a schedule gets one run, and each run at most one render."""
