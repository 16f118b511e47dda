"""The worker: a supervisor that takes tasks off the queue, and slot processes that do them."""
