"""The durable task queue: rows of tasks, taken in fair turns; leases decide who may write."""
