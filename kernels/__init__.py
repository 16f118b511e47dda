"""Fused media kernels, one folder per operation: contract, plain torch reference, Triton kernel. See docs/kernels.md.

A tensor's own device chooses the implementation: CUDA runs the kernel, CPU the reference. Nothing is copied between
devices. Importing a package here imports neither torch nor triton; the first call does.
"""
