"""The worker: a supervisor takes tasks off the queue and slot processes execute them."""
