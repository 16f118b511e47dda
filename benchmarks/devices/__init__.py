"""`python -m benchmarks devices`: what a machine's CPU and GPU do, stage by stage and in whole renders, side by side.

It imports the standard library, numpy, av and Pillow, and torch where a device is asked: a machine without the
service's packages runs it as `python -m benchmarks.devices`.
"""
