"""Fused media kernels, one folder per operation: contract, plain torch reference, Triton kernel. See docs/kernels.md.

The device of the frames chooses the implementation: the kernel on CUDA, the reference on the CPU. Nothing is copied
between devices. Importing a package here imports neither torch nor triton; the first call does.
"""
