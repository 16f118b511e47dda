"""Reads objects for a slot: frames ahead of the decoder, source videos as seekable files, segments in batches."""
