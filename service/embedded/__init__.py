"""PostgreSQL as a child process, for one-machine setups."""
