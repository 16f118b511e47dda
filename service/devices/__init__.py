"""What this machine has and what it was seen to do: probes, canaries, breakers. Codecs are only in the canaries' own
processes."""
