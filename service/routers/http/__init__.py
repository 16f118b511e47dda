"""What all routes share: dependencies, middleware, problem responses, conditional requests, pagination, signing."""
