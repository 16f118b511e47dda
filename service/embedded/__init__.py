"""An embedded PostgreSQL, run as a child process, for setups on one machine."""
