"""Decodes, transforms and encodes on an NVIDIA GPU; only the room `torch` imports torch, codecs and kernels."""
