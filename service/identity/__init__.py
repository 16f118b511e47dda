"""Who calls, proven by a JWT, and what they may do."""
