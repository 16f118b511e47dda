"""Renders in words: what a question asks of a video, and the request that is prepared from it, never sent."""
