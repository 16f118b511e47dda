"""An import that raises RuntimeError with advice, as PyNvVideoCodec does next to a driver without encode library."""

raise RuntimeError("libnvidia-encode.so.1: cannot open shared object file\n\n=== TROUBLESHOOTING STEPS ===\n...")
