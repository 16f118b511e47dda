"""What a slot works on at this moment, in memory that its supervisor can still read when the slot has died."""

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import Any

# Keys of objects have at most 1024 bytes.
SIZE, LENGTH_BYTES = 2048, 2


class CurrentItem:
    """A short text, written by the slot and read by the supervisor: the index of a frame, or the key of an object.

    Writing costs less than a microsecond; a message would cost each side a hundred. It can be passed to a process that
    is being spawned, and to nobody else.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = _create_file()
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, SIZE)

    def write(self, item: str) -> None:
        data = item.encode(errors="replace")[: SIZE - LENGTH_BYTES]
        self._memory[: LENGTH_BYTES + len(data)] = len(data).to_bytes(LENGTH_BYTES, "little") + data

    def read(self) -> str:
        """Whatever a slot that was taken over has written there, it is a text."""
        length = int.from_bytes(self._memory[:LENGTH_BYTES], "little")
        return self._memory[LENGTH_BYTES : LENGTH_BYTES + length].decode(errors="replace").replace("\0", "")

    def close(self) -> None:
        self._memory.close()
        os.close(self._descriptor)

    def __reduce__(self) -> Any:
        return _reopen, (reduction.DupFd(self._descriptor),)


def _create_file() -> int:
    """In memory where the system can: a mapped file on a full disk ends whoever writes to it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("reelmill-current-item", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, SIZE)
        return descriptor
    with tempfile.TemporaryFile() as file:
        file.write(bytes(SIZE))
        file.flush()
        return os.dup(file.fileno())


def _reopen(descriptor: Any) -> CurrentItem:
    return CurrentItem(descriptor.detach())
