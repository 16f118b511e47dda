"""glibc's malloc: its options, and returning free memory to the kernel. Other C libraries have neither."""

import ctypes
import os
from collections.abc import Mapping

# mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LIBC = ctypes.CDLL(None) if os.name == "posix" else None


def set_malloc_options(options: Mapping[int, int]) -> None:
    """Set mallopt(3) options of this process."""
    if LIBC is not None and hasattr(LIBC, "mallopt"):
        for option, value in options.items():
            LIBC.mallopt(option, value)


def trim_malloc() -> None:
    """Return free heap memory to the kernel."""
    if LIBC is not None and hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
