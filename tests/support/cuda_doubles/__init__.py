"""Doubles of the CUDA driver, for machines without a GPU; each can fail in one way.

They compute pixels with the functions of the CPU path, so every pixel can be compared with it. Like the real driver, a
double is opened by the name of its module, which has an `open_driver`.
"""
