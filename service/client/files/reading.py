"""Reads local files that may change, or go, while they are read."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1024 * 1024
# O_NONBLOCK: a pipe that took the place of a file must not block.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class FileChanged(Exception):
    """A file is not the one that was looked at, or changes while it is read."""


class NoFile(OSError):
    """Something else is at its place."""


def look_at(path: Path) -> os.stat_result:
    """Raises NoFile, OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NoFile(None, "it is not a file any more")
    return status


def open_file(path: Path) -> BinaryIO:
    """Raises OSError."""
    return os.fdopen(os.open(path, _OPEN_FLAGS), "rb")


def require_same(path: Path, expected: os.stat_result) -> None:
    """Raises FileChanged unless the file at this path is the one that was looked at, unchanged; OSError."""
    found = path.stat()
    for name in ("st_ino", "st_size", "st_mtime_ns", "st_mode"):
        if getattr(found, name) != getattr(expected, name):
            raise FileChanged


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Raises FileChanged if there is less."""
    data = file.read(size)
    if len(data) < size:
        raise FileChanged
    return data


async def read_chunks(file: BinaryIO, size: int) -> AsyncIterator[bytes]:
    """Raises FileChanged if there is less."""
    while size:
        chunk = await asyncio.to_thread(read_exactly, file, min(size, CHUNK_BYTES))
        size -= len(chunk)
        yield chunk
