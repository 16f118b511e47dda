"""Private folders for temporary files, each of one process. What dead processes have left is swept."""

import errno
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "reelmill-scratch-"
# A disk or a quota of a file system is full.
FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)


def make_scratch() -> Path:
    """A folder in the temporary folder that names this process."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def remove_scratch(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch() -> int:
    """Remove the folders of processes that are dead; returns how many. Those of other users are left alone."""
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(OSError):
            if pid.isdecimal() and folder.lstat().st_uid == os.geteuid() and not _is_alive(int(pid)):
                shutil.rmtree(folder)
                swept += 1
    return swept


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
