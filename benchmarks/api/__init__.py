"""The API under load: latency, the cost of middleware, and a soak test."""
