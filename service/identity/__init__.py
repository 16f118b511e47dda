"""Who is calling, proven by a JWT, and what the token permits."""
