"""PostgreSQL as a child process: the one-machine default."""
