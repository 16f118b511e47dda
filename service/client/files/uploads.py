"""Uploads the new and changed files of a folder, also those that change or go meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from service.client.errors import FolderError, UnexpectedAnswer, error_of, problem_of, refusal
from service.client.files.bundles import pack, split_into_bundles
from service.client.files.local_files import FolderSurvey, LeftOut, StoredFiles, nothing_to_upload
from service.client.files.reading import (
    CHUNK_BYTES,
    FileChanged,
    NoFile,
    look_at,
    open_file,
    read_chunks,
    read_exactly,
    require_same,
)
from service.client.requests import Request, list_of

if TYPE_CHECKING:
    import httpx

    from service.client.transport import Transport

CONCURRENT_REQUESTS = 4
# How often a file that changes is sent, and the statuses of files that the service refuses for good.
MAX_CHANGES, REFUSED_FILE = 3, (413,)
# Clocks that differ by less than this are taken as equal: HTTP's dates have whole seconds.
CLOCK_TOLERANCE_S = 2.0
# Called with the phase (`upload` or `scan`), how many files are done, and of how many, if that is known.
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
    """Upload the files of a survey into a dataset, small ones together.

    Skips files that the dataset has unchanged (`StoredFiles.has_same`), so an interrupted run can be repeated. Files
    that cannot be read, or that the service refuses, are left out, and the others go on. Raises FolderError if there is
    nothing to upload, Refused, Unreachable.
    """
    if not survey.files:
        raise FolderError(nothing_to_upload(survey))
    stored = await list_stored(transport, dataset, checksum=checksum)
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


async def list_stored(transport: Transport, dataset: str, *, checksum: bool) -> StoredFiles:
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


class Uploader:
    """Uploads files, some requests at a time. `sent` counts the files."""

    def __init__(
        self, transport: Transport, survey: FolderSurvey, dataset: str, on_sent: Callable[[int], None]
    ) -> None:
        self._transport, self._survey, self._on_sent = transport, survey, on_sent
        self._path = f"/api/datasets/{dataset}/objects"
        self.sent = 0

    async def upload_all(self, names: Iterable[str]) -> None:
        """Raises the first failure of the service and cancels the other uploads."""
        waiting = split_into_bundles(self._survey.files, names)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENT_REQUESTS):
                    group.create_task(self._upload_from(waiting))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _upload_from(self, bundles: Iterable[list[str]]) -> None:
        for names in bundles:
            for name in names if len(names) == 1 else await self._send_together(names):
                await self._send_alone(name)

    async def _send_together(self, names: list[str]) -> list[str]:
        """Send small files in one archive; returns those that have to be sent alone."""
        bundle = await asyncio.to_thread(pack, self._survey.folder, names)
        if not bundle.files:
            return bundle.unread
        headers = {"Content-Type": "application/x-tar"}
        request = Request("POST", self._path, content=bundle.content, headers=headers, is_harmless=True)
        response = await self._transport.attempt(request)
        if response.status_code in REFUSED_FILE:  # together they are too large
            return names
        if not response.is_success:
            raise error_of(response)
        answers = list_of(response)
        if len(answers) != len(bundle.files):
            raise UnexpectedAnswer(200, f"{len(bundle.files)} files were sent, the answer has {len(answers)}")
        again = list(bundle.unread)
        for (name, status), answer in zip(bundle.files.items(), answers, strict=True):
            if (problem := answer.get("problem")) is not None:
                self._leave_out(name, problem)
            elif await self._has_changed(name, status):
                again.append(name)
            else:
                self._count()
        return again

    async def _has_changed(self, name: str, status: os.stat_result) -> bool:
        try:
            require_same(self._survey.folder / name, status)
        except (FileChanged, OSError):
            return True
        return False

    def _leave_out(self, name: str, problem: Mapping[str, Any]) -> None:
        """Raises Refused for what concerns more than this file."""
        if problem["status"] not in REFUSED_FILE:
            raise refusal(problem["status"], problem)
        self._survey.leave_out(name, f"the service refused it: {problem['detail']}")

    async def _send_alone(self, name: str) -> None:
        if reason := await self._try_upload(name):
            self._survey.leave_out(name, reason)
        else:
            self._count()

    def _count(self) -> None:
        self.sent += 1
        self._on_sent(self.sent)

    async def _try_upload(self, name: str) -> str | None:
        """Why the file was not uploaded; None if it was. A file that changes is sent up to three times."""
        path = self._survey.folder / name
        for _ in range(MAX_CHANGES):
            try:
                status = look_at(path)
                response = await self._upload_file(name, status)
                require_same(path, status)
            except FileChanged:
                continue
            except NoFile as error:
                return str(error.strerror)
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
        with await asyncio.to_thread(open_file, path) as file:

            def content() -> bytes | AsyncIterator[bytes]:
                file.seek(0)
                require_same(path, status)
                return read_exactly(file, size) if size <= CHUNK_BYTES else read_chunks(file, size)

            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            request = Request("PUT", f"{self._path}/{quote(name)}", content=content, headers=headers)
            return await self._transport.attempt(request)
