"""The render pipeline: fetches, decodes, transforms and encodes frames into segments, and joins these into a video."""
