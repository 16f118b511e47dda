"""The durable task queue: PgQueuer delivers task ids, leases decide who may write."""
