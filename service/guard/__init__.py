"""Guarded queries: a JSON document is validated against named rules, compiled to one SQL statement and run read-only
as the caller.
"""
