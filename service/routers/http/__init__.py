"""What every route shares: dependencies, middleware, problem responses, conditional requests, pagination and
signing.
"""
