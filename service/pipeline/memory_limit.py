"""Refuses what does not fit into the memory limit of this process, before it is allocated."""

import mmap
from collections.abc import Callable

from service.malloc import trim_malloc
from service.pipeline.frames import FrameTooLarge

# Asks the kernel for nothing but room: no page of it is touched.
_ROOM = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
_MIB = 1 << 20
_MOST_MIB = 1 << 24


class _ProcessAge:
    """`room_when_new` is in MiB; None where nobody starts a new process in place of this one."""

    room_when_new: int | None = None
    is_used = False


def remember_room() -> None:
    """Call when the process is new: from its second command on it is to be replaced if it has less room than now."""
    _ProcessAge.room_when_new = _available_mib()


def mark_used() -> None:
    """The process has executed a command, and may have kept memory of it."""
    _ProcessAge.is_used = True


def may_have_room_when_new() -> bool:
    """Whether a new process could have more room than this one: what does not fit is nobody's fault then."""
    return _ProcessAge.is_used and _ProcessAge.room_when_new is not None


def fits(size: int) -> bool:
    """Whether the process may have so many more bytes now: a microsecond or two."""
    try:
        mmap.mmap(-1, max(size, 1), flags=_ROOM, prot=mmap.PROT_READ | mmap.PROT_WRITE).close()
    except (OSError, OverflowError, ValueError):
        return False
    return True


def require_memory(verb: str, needed: int, free: Callable[[], None] = trim_malloc) -> None:
    """Raises FrameTooLarge if so many bytes do not fit, not even after `free` and returning what is free; MemoryError
    if they may fit into a new process.

    `verb` says for what, such as "decoding it".
    """
    if fits(needed):
        return
    free()
    trim_malloc()
    if not fits(needed):
        needed_mib = -(-needed // _MIB)
        reason = f"{verb} takes about {needed_mib} MiB, and the slot has {_available_mib()} MiB left"
        if may_have_room_when_new() and needed_mib <= (_ProcessAge.room_when_new or 0):
            raise MemoryError(reason)
        raise FrameTooLarge(f"{reason}: raise REELMILL_SLOT_MEMORY_MB")


def _available_mib() -> int:
    """The most that fits, by halving."""
    low, high = 0, _MOST_MIB
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _MIB) else (low, middle)
    return low
