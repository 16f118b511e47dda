"""The queue of a large fleet: simulated workers take and finish tasks with the service's own SQL, on PostgreSQL."""
