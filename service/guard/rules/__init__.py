"""The rules of guarded queries: a named limit, and a pure function that measures a query against it."""
