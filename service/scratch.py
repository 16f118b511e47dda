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
    """A folder in the temporary folder, which is this process's until `remove_scratch`."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # it was not swept just before it was locked
            _locks[folder] = lock
            return folder
        os.close(lock)


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
    return sum(_sweep(folder) for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"))


def _sweep(folder: Path) -> bool:
    """Whether nobody has it any more, and it is gone."""
    with suppress(OSError):
        if not folder.name.removeprefix(PREFIX).partition("-")[0].isdecimal() or folder.lstat().st_uid != os.geteuid():
            return False
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            return True
        finally:
            os.close(lock)
    return False
