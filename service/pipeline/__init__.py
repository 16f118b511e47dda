"""From source frames to a playable video: fetch -> decode -> transform -> encode, then a stream-copied assembly."""
