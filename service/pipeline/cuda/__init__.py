"""Decodes, transforms and encodes on an NVIDIA GPU; only its package `torch` imports torch, codecs and the kernels."""
