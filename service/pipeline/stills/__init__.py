"""Still images made from frames: previews, posters, preview strips, keograms."""
