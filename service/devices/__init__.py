"""Probes the machine's CPU and GPUs and tests them with canaries; imports no codec."""
