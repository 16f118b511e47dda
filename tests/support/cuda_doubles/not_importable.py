"""As PyNvVideoCodec beside a driver without its encode library: an import that raises RuntimeError, with advice."""

raise RuntimeError("libnvidia-encode.so.1: cannot open shared object file\n\n=== TROUBLESHOOTING STEPS ===\n...")
