"""Private folders for temporary files, each locked by one process. What dead processes have left is swept: a lock tells
that they are dead, also to processes that number them in another way (in another container with the same folder).

A codec process may create no files: in its folder, those that it needs are made for it."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "reelmill-scratch-"
# Of an assembly, its video and receipt; a large object on its way to the store; a table for FFmpeg, which wants its
# suffix.
WORKING_FILES = ("video", "receipt", "body", "table.csp")
_working_files: dict[str, Path] = {}
_locks: dict[Path, int] = {}
# A disk or a quota of a file system is full.
FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)


def make_scratch() -> Path:
    """A folder in the temporary folder that this process has locked."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    if (lock := _lock(folder)) is not None:
        _locks[folder] = lock
    return folder


def make_working_files(folder: Path) -> None:
    """The working files of a codec process, all empty."""
    for name in WORKING_FILES:
        (folder / name).write_bytes(b"")


def use_working_files(folder: Path) -> None:
    """In the codec process: from now on `working_file` gives those of this folder."""
    _working_files.update({name: folder / name for name in WORKING_FILES})


@contextmanager
def working_file(name: str) -> Iterator[Path]:
    """A file to write to, one at a time; it is empty, and what is written is gone afterwards."""
    if (path := _working_files.get(name)) is None:
        with tempfile.TemporaryDirectory(prefix="reelmill-") as folder:
            yield Path(folder, name)
        return
    try:
        yield path
    finally:
        os.truncate(path, 0)


def remove_scratch(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        if (lock := _locks.pop(folder, None)) is not None:
            os.close(lock)


def sweep_scratch() -> int:
    """Remove the folders of processes that are dead; returns how many. Those of other users are left alone."""
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        with suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and (lock := _lock(folder)) is not None:
                shutil.rmtree(folder)
                os.close(lock)
                swept += 1
    return swept


def _lock(folder: Path) -> int | None:
    """The descriptor that holds the lock until this process ends; None if another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
