"""Monitors the CPU and GPUs of a worker: probes, canaries (self-tests with known output) and their metrics."""
