"""The files of a local folder that are uploaded, those that are left out, and what has changed."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from service.client.errors import FolderError
from service.plan.formats import SourceKind
from service.plan.names.media_names import (
    Exclusions,
    excluded_by_folder,
    excluded_by_name,
    is_media_name,
)
from service.plan.names.safe_paths import safe_path

MD5_HEX_LENGTH = 32
SPECIAL_FILES = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder that could not be taken. `is_media`: by its name it is, or may contain, what was asked for."""

    name: str
    reason: str
    is_media: bool

    def __str__(self) -> str:
        return f"{printable(self.name)}: {self.reason}"


@dataclass(slots=True)
class FolderSurvey:
    """What a folder has: `files` to upload by relative name, what is `left_out`, and what is `excluded` by its name."""

    folder: Path
    kind: SourceKind
    files: dict[str, os.stat_result] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    excluded: Exclusions = field(default_factory=Exclusions)

    def leave_out(self, name: str, reason: str, *, is_media: bool | None = None) -> None:
        """`is_media` unset: its suffix decides."""
        self.left_out.append(LeftOut(name, reason, is_media_name(name, self.kind) if is_media is None else is_media))


def survey_folder(folder: Path, kind: SourceKind) -> FolderSurvey:
    """Look at everything in the folder and below, following links. Opens no file, so that pipes cannot block.

    Raises FolderError if there is nothing.
    """
    if not folder.is_dir():
        raise FolderError(f"{printable(str(folder))} is not a folder")
    survey, folders = FolderSurvey(folder, kind), list[str]()
    for name, status in _walk(survey):
        if stat.S_ISDIR(status.st_mode):
            folders.append(name)
        else:
            _add_file(survey, name, status)
    survey.files = dict(sorted(survey.files.items()))
    for name in folders:
        if is_media_name(name, kind):
            empty = not any(path.startswith(f"{name}/") for path in survey.files)
            survey.leave_out(name, "a folder, not a file", is_media=empty)
    if not (survey.files or survey.left_out or survey.excluded.total):
        raise FolderError(nothing_to_upload(survey))
    return survey


def _walk(survey: FolderSurvey) -> Iterator[tuple[str, os.stat_result]]:
    """The relative name and status of all files and folders, parents first. What cannot be read is left out."""
    top = survey.folder.stat()
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ((top.st_dev, top.st_ino),))]
    while pending:
        base, ancestors = pending.pop()
        for name, is_link in _list_folder(survey, base):
            path = f"{base}{name}"
            if exclusion := excluded_by_folder(path):
                survey.excluded.add(exclusion, printable(path))
                continue
            try:
                status = os.stat(os.path.join(survey.folder, path))  # noqa: PTH116, PTH118 (any bytes, many files)
            except OSError as error:
                survey.leave_out(path, _reason(error, is_link=is_link))
                continue
            identity = (status.st_dev, status.st_ino)
            if stat.S_ISDIR(status.st_mode) and identity in ancestors:
                survey.leave_out(path, "a link in a circle", is_media=True)
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                pending.append((f"{path}/", (*ancestors, identity)))


def _list_folder(survey: FolderSurvey, base: str) -> list[tuple[str, bool]]:
    """Sorted names, and whether each is a link."""
    try:
        with os.scandir(survey.folder / base) as entries:
            return sorted((entry.name, entry.is_symlink()) for entry in entries)
    except OSError as error:
        survey.leave_out(base or ".", f"this folder cannot be read ({error.strerror})", is_media=True)
        return []


def _reason(error: OSError, *, is_link: bool) -> str:
    if isinstance(error, FileNotFoundError):
        return "a broken link" if is_link else "deleted meanwhile"
    return "a link in a circle" if is_link and not isinstance(error, PermissionError) else str(error.strerror)


def _add_file(survey: FolderSurvey, name: str, status: os.stat_result) -> None:
    if exclusion := excluded_by_name(name, survey.kind):
        survey.excluded.add(exclusion, printable(name))
        return
    if not stat.S_ISREG(status.st_mode):
        what = next((what for test, what in SPECIAL_FILES if test(status.st_mode)), "a device")
        survey.leave_out(name, f"{what}, not a file")
        return
    try:
        survey.files[safe_path(name)] = status
    except ValueError as error:
        survey.leave_out(name, f"its name cannot be stored: {error}")


def nothing_to_upload(survey: FolderSurvey) -> str:
    """The text of the error, with what was left out."""
    what = "source videos" if survey.kind == "video" else "frames"
    found = [str(left) for left in survey.left_out[:3]]
    if survey.excluded.total:
        found.append(f"left out: {survey.excluded}")
    folder = printable(str(survey.folder))
    return f"{folder} has no {what} to upload ({'; '.join(found)})" if found else f"{folder} has no files"


def printable(name: str) -> str:
    """The name in one line, as any terminal can print it: what is not a character is written as \\xe9 or \\n."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """What the dataset has stored, by name, and how many seconds the service's clock is ahead of ours.

    `checksum`: trust no times, only digests.
    """

    by_name: Mapping[str, Mapping[str, Any]]
    clock_ahead_s: float
    checksum: bool

    def has_same(self, folder: Path, name: str, local: os.stat_result) -> bool:
        """Whether the stored file is known to be equal: the local one is older, or its MD5 is the ETag of S3.

        The time of the last change of the inode counts, too: `cp -p` and the like cannot set it back.
        """
        stored = self.by_name.get(name)
        if stored is None or stored["size"] != local.st_size:
            return False
        stored_at = datetime.fromisoformat(stored["modified"]).timestamp()
        is_from_future = local.st_mtime > time.time()  # a camera's clock is wrong, ours has seen the change
        changed_at = local.st_ctime if is_from_future else max(local.st_ctime, local.st_mtime)
        if changed_at + self.clock_ahead_s < stored_at and not self.checksum:
            return True
        if len(stored["etag"]) != MD5_HEX_LENGTH:
            return False
        try:
            with open(folder / name, "rb") as file:  # noqa: PTH123 (file_digest)
                return bool(hashlib.file_digest(file, _md5).hexdigest() == stored["etag"])
        except OSError:
            return False  # the upload says why


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)
