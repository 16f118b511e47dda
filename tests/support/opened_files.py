"""Which files of a folder any process opens, as reported by the kernel (inotify)."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_NONBLOCK, IN_OPEN, IN_ISDIR = 0o4000, 0x20, 0x40000000
EVENT = struct.Struct("iIII")


@contextmanager
def opened_files(folder: Path) -> Iterator[list[str]]:
    """The names of opened files, once per open, in order; complete after the block. At most 16,384."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(IN_NONBLOCK)
    assert descriptor >= 0 and libc.inotify_add_watch(descriptor, os.fsencode(folder), IN_OPEN) >= 0
    names: list[str] = []
    try:
        yield names
    finally:
        names += _read_events(descriptor)
        os.close(descriptor)


def _read_events(descriptor: int) -> Iterator[str]:
    while True:
        try:
            data = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return
        position = 0
        while position < len(data):
            _, mask, _, length = EVENT.unpack_from(data, position)
            name = data[position + EVENT.size : position + EVENT.size + length].rstrip(b"\0")
            position += EVENT.size + length
            if not mask & IN_ISDIR:
                yield name.decode()
