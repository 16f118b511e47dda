"""Files and folders that other users of this machine must not reach: owned by us, with modes 0600 and 0700.

A folder is created or opened first, then judged and made private by its descriptor, and its contents are reached
through that descriptor. So a symbolic link that another user exchanges meanwhile leads nowhere.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

PRIVATE_UMASK = 0o077
FOLDER_MODE, FILE_MODE = 0o700, 0o600
OTHERS = 0o077
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

log = structlog.get_logger("service.private_files")


class NotPrivate(Exception):
    """A file or folder cannot be made private; the text says which, why, and what to do."""


def make_home_private(home: Path) -> None:
    """Create the home if it is missing, and shut other users out of it and of all that is in it.

    A home may be reached through symbolic links; links in it are left alone. It may belong to root, as volumes of
    containers do, unless everybody may write to it. Raises NotPrivate, OSError.
    """
    with suppress(FileExistsError):  # opening tells what is there instead
        home.mkdir(mode=FOLDER_MODE, parents=True)
    home = home.resolve()
    descriptor = os.open(home, FOLDER_FLAGS)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid():
            _shut_out_others(descriptor, status)
        elif status.st_uid != 0 or (status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX):
            raise NotPrivate(f"{home} belongs to another user: choose a folder of your own")
        _tighten_entries(descriptor, home)
    finally:
        os.close(descriptor)


def _tighten_entries(descriptor: int, home: Path) -> None:
    """Tighten each entry with all below it. A folder comes after what is in it, so that a start that was interrupted is
    repeated, and costs nothing once it was done."""
    for name in os.listdir(descriptor):
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode) or not status.st_mode & OTHERS or stat.S_ISSOCK(status.st_mode):
            continue
        log.info("made private", path=str(home / name))
        if stat.S_ISDIR(status.st_mode):
            for _, folders, files, inner in os.fwalk(name, topdown=False, dir_fd=descriptor):
                for entry in (*folders, *files):
                    _tighten(entry, inner)
        _tighten(name, descriptor)


def _tighten(name: str, descriptor: int) -> None:
    """Take others' rights. What is gone meanwhile, or belongs to another user, stays as it is."""
    with suppress(FileNotFoundError, PermissionError):
        mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
        if mode & OTHERS and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            os.chmod(name, stat.S_IMODE(mode) & ~OTHERS, dir_fd=descriptor)


@contextmanager
def private_folder(name: Path | str, parent: int | None = None) -> Iterator[int]:
    """A descriptor of this folder, created if it is missing; `name` is below the folder of `parent`, if that is given.

    Raises NotPrivate if it is a link, no folder, or another user's, and OSError.
    """
    with suppress(FileExistsError):
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    try:
        descriptor = os.open(name, FOLDER_FLAGS, dir_fd=parent)
    except OSError as error:
        if _is_link(name, parent):
            raise NotPrivate(f"{name} is a symbolic link: remove it") from error
        raise
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise NotPrivate(f"{name} belongs to another user: remove it")
        _shut_out_others(descriptor, status)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_link(name: Path | str, parent: int | None) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False


def read_private_text(path: Path) -> str:
    """The ASCII text of a file of our own that nobody else can read; others' rights are taken first.

    Raises NotPrivate if it is a link, no file, or another user's, UnicodeDecodeError and OSError.
    """
    try:
        descriptor = os.open(path, FILE_FLAGS)
    except OSError as error:
        if _is_link(path, None):
            raise NotPrivate(f"{path} is a symbolic link: put the file itself there") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
            raise NotPrivate(f"{path} is not a file of this user: remove it")
        if _shut_out_others(descriptor, status):
            log.warning("other users could read this file until now: delete it to get a new one", path=str(path))
        return file.read().decode("ascii")


def _shut_out_others(descriptor: int, status: os.stat_result) -> bool:
    """Whether others had rights."""
    had_rights = bool(status.st_mode & OTHERS)
    if had_rights:
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~OTHERS)
    return had_rights
