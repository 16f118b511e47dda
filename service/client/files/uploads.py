"""Uploads the files of `reelmill ingest`, also those that change or go meanwhile."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import httpx

from service.commands.api_client import json_or_raise, problem_message, send_with_retries
from service.commands.local_files import FolderSurvey

CONCURRENT_UPLOADS = 8
CHUNK_BYTES = 1024 * 1024
# O_NONBLOCK: a pipe that took the place of a file must not block.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
# How often a file that changes is sent, and the status of files that the service refuses for good.
MAX_CHANGES, REFUSED_FILE = 3, (413,)


class FileChanged(Exception):
    """A file is not the one that was looked at, or changes while it is read."""


class Uploader:
    """Uploads files, eight at a time. `sent` counts them."""

    def __init__(
        self, client: httpx.AsyncClient, survey: FolderSurvey, dataset: str, on_sent: Callable[[int], None]
    ) -> None:
        self._client, self._survey, self._dataset, self._on_sent = client, survey, dataset, on_sent
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
                response = await send_with_retries(lambda status=status: self._upload_file(name, status))  # type: ignore[misc]
                _require_same(path, status)
            except FileChanged:
                continue
            except OSError as error:
                return f"it cannot be read ({error.strerror})"
            if response.status_code in REFUSED_FILE:
                return f"the service refused it: {problem_message(response)}"
            json_or_raise(response)
            return None
        return "it changes while it is uploaded: run ingest again"

    async def _upload_file(self, name: str, status: os.stat_result) -> httpx.Response:
        """Raises OSError, and FileChanged if the file is not the one of `status`."""
        path, size = self._survey.folder / name, status.st_size
        descriptor = await asyncio.to_thread(os.open, path, OPEN_FLAGS)
        with os.fdopen(descriptor, "rb") as file:
            _require_same(path, status)
            content = _read_exactly(file, size) if size <= CHUNK_BYTES else _read_chunks(file, size)
            return await self._client.put(
                f"/api/datasets/{self._dataset}/objects/{quote(name)}",
                content=content,
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            )


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
