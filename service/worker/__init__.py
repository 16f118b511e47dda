"""The worker: a supervisor takes tasks off the queue and slots execute them."""
