"""Uploads the new and changed files of a folder, also those that change or go meanwhile."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from service.client.errors import FolderError, error_of, problem_of
from service.client.files.local_files import FolderSurvey, LeftOut, StoredFiles, nothing_to_upload
from service.client.requests import Request, list_of

if TYPE_CHECKING:
    import httpx

    from service.client.transport import Transport

CONCURRENT_UPLOADS = 8
CHUNK_BYTES = 1024 * 1024
# O_NONBLOCK: a pipe that took the place of a file must not block.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
# How often a file that changes is sent, and the status of files that the service refuses for good.
MAX_CHANGES, REFUSED_FILE = 3, (413,)
# Clocks that differ by less than this are taken as equal: HTTP's dates have whole seconds.
CLOCK_TOLERANCE_S = 2.0
ProgressCallback = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class UploadResult:
    """How many files were `uploaded`, how many were `present` already, and what else was found.

    `left_out`: what could not be uploaded, and why. `gone`: names of stored files that are not in the folder any more.
    """

    uploaded: int
    present: int
    left_out: Sequence[LeftOut] = ()
    gone: Sequence[str] = ()

    @property
    def total(self) -> int:
        return self.uploaded + self.present

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out that, by its name, is a frame or source video."""
        return not any(left.is_media for left in self.left_out)


async def upload_survey(
    transport: Transport, dataset: str, survey: FolderSurvey, on_progress: ProgressCallback, *, checksum: bool = False
) -> UploadResult:
    """Upload the files of a survey into a dataset, eight at a time.

    Skips files that the dataset has unchanged (`StoredFiles.has_same`), so an interrupted run can be repeated. Files
    that cannot be read, or that the service refuses, are left out, and the others go on. Raises FolderError if there is
    nothing to upload, Refused, Unreachable.
    """
    if not survey.files:
        raise FolderError(nothing_to_upload(survey))
    stored = await _list_stored(transport, dataset, checksum=checksum)
    missing = await asyncio.to_thread(_select_changed, survey, stored)
    total, present = len(survey.files), len(survey.files) - len(missing)
    on_progress("upload", present, total)
    uploader = Uploader(transport, survey, dataset, lambda sent: on_progress("upload", present + sent, total))
    await uploader.upload_all(missing)
    known = survey.files.keys() | {left.name for left in survey.left_out}
    gone = sorted(name for name in stored.by_name.keys() - known if not (survey.folder / name).exists())
    return UploadResult(uploader.sent, present, tuple(survey.left_out), gone)


def _select_changed(survey: FolderSurvey, stored: StoredFiles) -> list[str]:
    return [name for name, status in survey.files.items() if not stored.has_same(survey.folder, name, status)]


async def _list_stored(transport: Transport, dataset: str, *, checksum: bool) -> StoredFiles:
    """What the dataset has stored. The Date of the answer is compared with our clock before the request was sent.

    A busy service sends an old Date, so that its clock only seems to be behind: that is ignored, else a file that was
    changed would seem older than what is stored.
    """
    asked_at = time.time()
    response = await transport.get(f"/api/datasets/{dataset}/objects", {"details": True})
    by_name = {entry["name"]: entry for entry in list_of(response)}
    try:
        ahead_s = parsedate_to_datetime(response.headers["Date"]).timestamp() - asked_at
    except (KeyError, ValueError):
        ahead_s = 0.0
    return StoredFiles(by_name, ahead_s if ahead_s > CLOCK_TOLERANCE_S else 0.0, checksum)


class FileChanged(Exception):
    """A file is not the one that was looked at, or changes while it is read."""


class Uploader:
    """Uploads files, eight at a time. `sent` counts them."""

    def __init__(
        self, transport: Transport, survey: FolderSurvey, dataset: str, on_sent: Callable[[int], None]
    ) -> None:
        self._transport, self._survey, self._dataset, self._on_sent = transport, survey, dataset, on_sent
        self.sent = 0

    async def upload_all(self, names: Iterable[str]) -> None:
        """Raises the first failure of the service and cancels the other uploads."""
        waiting = iter(names)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENT_UPLOADS):
                    group.create_task(self._upload_from(waiting))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _upload_from(self, names: Iterable[str]) -> None:
        for name in names:
            if reason := await self._try_upload(name):
                self._survey.leave_out(name, reason)
                continue
            self.sent += 1
            self._on_sent(self.sent)

    async def _try_upload(self, name: str) -> str | None:
        """Why the file was not uploaded; None if it was. A file that changes is sent up to three times."""
        path = self._survey.folder / name
        for _ in range(MAX_CHANGES):
            try:
                status = path.stat()
                if not stat.S_ISREG(status.st_mode):
                    return "it is not a file any more"
                response = await self._upload_file(name, status)
                _require_same(path, status)
            except FileChanged:
                continue
            except OSError as error:
                return f"it cannot be read ({error.strerror})"
            if response.status_code in REFUSED_FILE:
                return f"the service refused it: {problem_of(response)}"
            if not response.is_success:
                raise error_of(response)
            return None
        return "it changes while it is uploaded: upload it again"

    async def _upload_file(self, name: str, status: os.stat_result) -> httpx.Response:
        """Raises OSError, and FileChanged if the file is not the one of `status`."""
        path, size = self._survey.folder / name, status.st_size
        descriptor = await asyncio.to_thread(os.open, path, OPEN_FLAGS)
        with os.fdopen(descriptor, "rb") as file:

            def content() -> bytes | AsyncIterator[bytes]:
                file.seek(0)
                _require_same(path, status)
                return _read_exactly(file, size) if size <= CHUNK_BYTES else _read_chunks(file, size)

            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            target = f"/api/datasets/{self._dataset}/objects/{quote(name)}"
            return await self._transport.attempt(Request("PUT", target, content=content, headers=headers))


def _require_same(path: Path, expected: os.stat_result) -> None:
    """Raises FileChanged unless the file at this path is the one that was looked at, unchanged; OSError."""
    found = path.stat()
    for name in ("st_ino", "st_size", "st_mtime_ns", "st_mode"):
        if getattr(found, name) != getattr(expected, name):
            raise FileChanged


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise FileChanged
    return data


async def _read_chunks(file: BinaryIO, size: int) -> AsyncIterator[bytes]:
    while size:
        chunk = await asyncio.to_thread(_read_exactly, file, min(size, CHUNK_BYTES))
        size -= len(chunk)
        yield chunk
