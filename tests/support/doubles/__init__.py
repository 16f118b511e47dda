"""Doubles of what is not ours: NVML, Ollama, webhook receivers, and scripted canaries."""
