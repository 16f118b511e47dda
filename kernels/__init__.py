"""Fused media kernels, one folder per operation, with torch as the only need. The first come with the GPU path."""
