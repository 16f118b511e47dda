"""Guarded queries: a JSON document is validated by named rules, compiled to one statement and run read-only as the
caller.
"""
