"""Drivers that stand for a GPU where there is none: what only a device does is done by the CPU's own functions, so that
every pixel can be compared with the CPU path; and each can be told to go wrong in one way.

A worker is given one by the name of its module, which has an `open_driver` as the real one does.
"""
