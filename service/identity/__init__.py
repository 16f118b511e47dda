"""Who is calling, verified by a JWT, and what the token permits."""
