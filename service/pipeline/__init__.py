"""The render pipeline: fetch, decode, transform and encode frames into segments, then join the segments into one
video file.
"""
