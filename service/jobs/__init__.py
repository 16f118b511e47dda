"""The durable queue: PgQueuer behind a narrow port, with the leases that fence its workers."""
