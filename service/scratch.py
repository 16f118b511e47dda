"""Private folders for temporary files, each of one process. What dead processes have left is swept."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "reelmill-scratch-"
_locked: dict[Path, int] = {}


def make_scratch() -> Path:
    """A folder in the temporary folder that names this process, and is locked as long as it lives."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    _locked[folder] = descriptor
    return folder


def remove_scratch(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        if (descriptor := _locked.pop(folder, None)) is not None:
            os.close(descriptor)


def sweep_scratch() -> int:
    """Remove the folders of processes that are dead; returns how many. Those of other users are left alone."""
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(OSError):
            if pid.isdecimal() and folder.lstat().st_uid == os.geteuid() and not _is_used(folder, int(pid)):
                shutil.rmtree(folder)
                swept += 1
    return swept


def _is_used(folder: Path, pid: int) -> bool:
    """A process in another container has a number that is nobody's here, but its lock."""
    if _is_alive(pid):
        return True
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
