"""The regular expressions of the project: found in its code, and run against growing hostile text."""
