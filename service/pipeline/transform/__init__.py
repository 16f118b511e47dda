"""Brings decoded frames to the output's size and pixel format: crop, rotate, scale, pad, combine."""
