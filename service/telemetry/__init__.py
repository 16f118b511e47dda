"""Logs, access log and Prometheus metrics."""
