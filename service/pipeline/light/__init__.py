"""What coded colours mean as light: transfers, primaries, matrices, and the curve that shows HDR as SDR."""
