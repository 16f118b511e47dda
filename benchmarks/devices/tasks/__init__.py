"""The work that is timed, as functions that run inside the worker processes."""
