"""`python -m benchmarks devices`: compare a machine's CPU and GPU, stage by stage and in whole renders.

It imports only the standard library, numpy, av, Pillow and, for a GPU, torch, so that a machine without the service's
packages can run it as `python -m benchmarks.devices`.
"""
