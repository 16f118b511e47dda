"""Private folders for temporary files, each of one process. What dead processes have left is swept.

A lock says whose folder it is, and ends with the process. A process id would not do: workers in other containers,
which have ids of their own, may use the same temporary folder."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "reelmill-scratch-"
_locks: dict[Path, int] = {}


def make_scratch() -> Path:
    """A folder in the temporary folder, which is this process's until `remove_scratch`."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # it was not swept just before it was locked
            _locks[folder] = lock
            return folder
        os.close(lock)


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
