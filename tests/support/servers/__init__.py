"""Real servers and a browser that tests start and stop."""
