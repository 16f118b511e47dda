"""Refuses what does not fit into the memory limit of this process, before it is allocated."""

import mmap
from collections.abc import Callable

from service.malloc import trim_malloc
from service.pipeline.frames import FrameTooLarge

# Asks the kernel for nothing but room: no page of it is touched.
_ROOM = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
_MIB = 1 << 20
_MOST_MIB = 1 << 24


def fits(size: int) -> bool:
    """Whether the process may have so many more bytes now: a microsecond or two."""
    try:
        mmap.mmap(-1, max(size, 1), flags=_ROOM, prot=mmap.PROT_READ | mmap.PROT_WRITE).close()
    except (OSError, OverflowError, ValueError):
        return False
    return True


def require_memory(verb: str, needed: int, free: Callable[[], None] = trim_malloc) -> None:
    """Raises FrameTooLarge if so many bytes do not fit, not even after `free` and returning what is free.

    `verb` says for what, such as "decoding it".
    """
    if fits(needed):
        return
    free()
    trim_malloc()
    if not fits(needed):
        raise FrameTooLarge(
            f"{verb} takes about {-(-needed // _MIB)} MiB, and the slot has {_available_mib()} MiB left: "
            "raise REELMILL_SLOT_MEMORY_MB"
        )


def _available_mib() -> int:
    """The most that fits, by halving."""
    low, high = 0, _MOST_MIB
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _MIB) else (low, middle)
    return low
