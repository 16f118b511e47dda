"""The rules of guarded queries: each measures a query against a named limit."""
