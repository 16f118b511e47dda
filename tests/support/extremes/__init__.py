"""Requests with every value of a caller at its extreme, made from the OpenAPI document."""
