"""Doubles of external parts: NVML, Ollama, webhook receivers, and scripted canaries."""
